// Softmax row by row, over keys that come in pieces.
#pragma once

#include "exp.h"
#include "visible.h"

namespace qkv::QKV_ISA {

// What is kept of a row: its largest score, in powers of two, and the sum of its weights relative
// to that. Pieces of a row merge into the row (Milakov, Gimelshein 2018, "Online normalizer
// calculation for softmax").
template <class Number>
struct RowState {
    Number maximum = -infinity<Number>;
    Number total = 0;

    // From now on weights are relative to this score too. Returns by what earlier sums shrink.
    QKV_INLINE Number raise(Number score) {
        const Number raised = larger(score, maximum);
        const Number factor = exp2_of(maximum - (raised == -infinity<Number> ? 0 : raised));
        maximum = raised;
        total *= factor;
        return factor;
    }

    // What is subtracted from a score: of a row that has seen nothing all are -infinity, and stay.
    QKV_INLINE Number shift() const { return maximum == -infinity<Number> ? 0 : maximum; }

    QKV_INLINE Number inverse() const { return total == 0 ? 0 : 1 / total; }

    // The natural logarithm of the sum of the exponentials of the scores. In double: the backward
    // pass gets the weights back from it, and would lose digits of them where scores are large.
    QKV_INLINE double logsumexp() const {
        if (total == 0) return -infinity<double>;
        return (double(maximum) + __builtin_log2(double(total))) * log_of_2;
    }
};

// Turns `count` more scores of a row, a multiple of the lanes, into weights relative to the largest
// so far and adds them to the row. Returns by what earlier sums shrink.
template <class Number>
QKV_INLINE Number weigh(Number* scores, std::int64_t count, RowState<Number>& row) {
    Vector<Number> top = load(scores);
    for (std::int64_t j = lanes<Number>; j < count; j += lanes<Number>) {
        const Vector<Number> next = load(scores + j);
        top = next > top ? next : top;
    }
    const Number factor = row.raise(largest<Number>(top));
    const Number shift = row.shift();
    Vector<Number> added = {};
    for (std::int64_t j = 0; j < count; j += lanes<Number>) {
        const Vector<Number> weights = exp2<Number>(load(scores + j) - shift);
        store(scores + j, weights);
        added += weights;
    }
    row.total += sum<Number>(added);
    return factor;
}

}  // namespace qkv::QKV_ISA
