// Whether a pass wrote numbers alone.
#pragma once

#include "request.h"
#include "vector.h"

namespace qkv::QKV_ISA {

// Whether none of these is infinite or NaN: the bits of an exponent are then not all set. Words, for a
// sum of numbers would not be vectorised.
template <class Word>
bool all_finite(const void* numbers, std::int64_t count, Word exponent) {
    const Word* words = static_cast<const Word*>(numbers);
    Word found = 0;
    for (std::int64_t i = 0; i < count; ++i)
        found |= static_cast<Word>((words[i] & exponent) == exponent);
    return !found;
}

inline bool all_finite(const float* numbers, std::int64_t count) {
    return all_finite<std::uint32_t>(numbers, count, 0x7f800000u);
}
inline bool all_finite(const double* numbers, std::int64_t count) {
    return all_finite<std::uint64_t>(numbers, count, 0x7ff0000000000000u);
}

// Whether the output, if there is one, has neither infinities nor NaN. It is dense.
inline bool output_is_finite(const Request& request) {
    const void* output = request.output.data;
    if (!output) return true;
    const std::int64_t rows = request.batch * request.heads * request.group * request.queries;
    const std::int64_t count = rows * request.value_width;
    if (request.type == Type::float64)
        return all_finite(static_cast<const double*>(output), count);
    return all_finite(static_cast<const float*>(output), count);
}

}  // namespace qkv::QKV_ISA
