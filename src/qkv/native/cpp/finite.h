// Whether a pass wrote numbers alone.
#pragma once

#include <cstdint>
#include <cstring>

#include "request.h"

namespace qkv {

// Whether none of these is infinite or NaN: the bits of an exponent are then not all set. Words, for a
// sum of numbers would not be vectorised.
template <class Word>
bool all_finite(const Word* numbers, std::int64_t count, Word exponent) {
    Word found = 0;
    for (std::int64_t i = 0; i < count; ++i)
        found |= static_cast<Word>((numbers[i] & exponent) == exponent);
    return !found;
}

template <class Word>
bool all_finite(const Request& request, Word exponent) {
    const Tensor& output = request.output;
    const Word* data = static_cast<const Word*>(output.data);
    for (std::int64_t b = 0; b < request.batch; ++b)
        for (std::int64_t h = 0; h < request.heads; ++h)
            for (std::int64_t g = 0; g < request.group; ++g)
                for (std::int64_t row = 0; row < request.queries; ++row) {
                    const Word* numbers = data + b * output.batch + h * output.head +
                                          g * output.group + row * output.row;
                    if (!all_finite(numbers, request.value_width, exponent)) return false;
                }
    return true;
}

// Whether the output, if there is one, has neither infinities nor NaN.
inline bool output_is_finite(const Request& request) {
    if (!request.output.data) return true;
    if (request.type == Type::float64)
        return all_finite<std::uint64_t>(request, 0x7ff0000000000000u);
    return all_finite<std::uint32_t>(request, 0x7f800000u);
}

}  // namespace qkv
