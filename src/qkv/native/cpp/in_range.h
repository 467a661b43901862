// Whether numbers may be taken to pieces: what is below the smallest normal bfloat16 counts as 0 there.
#pragma once

#include "pack.h"
#include "tile_products.h"

namespace qkv::QKV_ISA {

// Whether some number of a tensor is so large that the pieces of products of such numbers are normal.
// As a rule the first one is.
inline bool has_large(const Request& request, const Tensor& tensor, std::int64_t members,
                      std::int64_t rows, std::int64_t width) {
    for (std::int64_t batch = 0; batch < request.batch; ++batch)
        for (std::int64_t head = 0; head < request.heads; ++head)
            for (std::int64_t member = 0; member < members; ++member)
                for (std::int64_t row = 0; row < rows; ++row) {
                    const float* numbers = row_of<float>(tensor, {batch, head, member}, row);
                    for (std::int64_t i = 0; i < width; ++i)
                        if (__builtin_fabsf(numbers[i]) >= 0x1p-48f) return true;
                }
    return false;
}

// Float16 has no smaller numbers. With fewer rows most of what a step computes would be thrown away.
inline bool serve_pieces(const Request& request) {
    if (request.queries < tiled_rows || request.keys < tiled_rows) return false;
    if (request.type == Type::float16) return true;
    const double scale = __builtin_fabs(request.scale);
    if (request.type != Type::float32 || scale < 0x1p-40 || scale > 0x1p40) return false;
    const auto large = [&](const Tensor& tensor, std::int64_t members, std::int64_t rows,
                           std::int64_t width) {
        return !tensor.data || has_large(request, tensor, members, rows, width);
    };
    return large(request.query, request.group, request.queries, request.width) &&
           large(request.key, 1, request.keys, request.width) &&
           large(request.value, 1, request.keys, request.value_width) &&
           large(request.output_gradient, request.group, request.queries, request.value_width);
}

}  // namespace qkv::QKV_ISA
