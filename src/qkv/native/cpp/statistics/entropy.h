// The entropy of a row in nats, -sum_j w_j log(w_j), where 0 log(0) = 0.
#pragma once

#include "../log.h"
#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
Number entropy(Row<Number> row) {
    const double sum = row_sum(row, [](Vector<Number> weights, std::int64_t) {
        const Vector<Number> terms = weights * log2<Number>(weights);
        return weights == 0 ? Vector<Number>{} : terms;
    });
    return Number(-sum * log_of_2);
}

}  // namespace qkv::QKV_ISA
