// The number of keys with weight > 0.
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
std::int64_t support(Row<Number> row) {
    typedef Integer<Number> Integers __attribute__((vector_size(QKV_VECTOR_BYTES)));
    Integers counts = {};
    for (std::int64_t j = 0; j < row.count; j += lanes<Number>)
        counts -= load(row.weights + j) > 0;
    std::int64_t total = 0;
    for (int lane = 0; lane < lanes<Number>; ++lane) total += counts[lane];
    return total;
}

}  // namespace qkv::QKV_ISA
