// A finished row of weights, as statistics read it, and what several of them are made of.
#pragma once

#include "../long_sums.h"

namespace qkv::QKV_ISA {

// Weights of one query: `count` of them, a multiple of the lanes. All other weights of the row are 0,
// and so are those beyond the last key.
template <class Number>
struct Row {
    const Number* weights;
    std::int64_t count;
};

// The sum over the row of term(weights, j) for the weights from the j-th on.
template <class Number, class Term>
QKV_INLINE double row_sum(Row<Number> row, Term term) {
    return sum_over<Number>(row.count,
                            [&](std::int64_t j) { return term(load(row.weights + j), j); });
}

// The number of a row's first weights: start, start + 1, ...
template <class Number>
QKV_INLINE Vector<Number> counting_from(Number start) {
    Vector<Number> numbers;
    for (int lane = 0; lane < lanes<Number>; ++lane) numbers[lane] = start + Number(lane);
    return numbers;
}

}  // namespace qkv::QKV_ISA
