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
        if (score <= maximum) return 1;
        const Number before = maximum;
        maximum = larger(score, maximum);
        // Of rows that have seen nothing, as at first all have, no power need be computed.
        const Number factor = before == -infinity<Number> ? 0 : exp2_of(before - shift());
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

// Moves a row's state and the sum of its values to those in double of all keys before, and begins it
// anew. Of its score and its sum either may annihilate the other side.
template <class Number>
void move_to(RowState<double>& whole, double* sums, RowState<Number>& row, Number* output,
             std::int64_t width) {
    const double before = whole.raise(double(row.maximum));
    const double factor = row.total == 0 ? 0 : exp2_of(double(row.maximum) - whole.shift());
    whole.total += factor == 0 ? 0 : factor * double(row.total);
    for (std::int64_t j = 0; j < width; ++j) {
        sums[j] = (before == 0 ? 0 : before * sums[j]) + (factor == 0 ? 0 : factor * double(output[j]));
        output[j] = 0;
    }
    row = {};
}

// Numbers of some rows, which lie `step` apart, times a factor.
template <int Rows, class Number>
QKV_INLINE void scale_rows(Number* numbers, std::int64_t step, std::int64_t count, Number factor) {
    if (factor == 1) return;
    for (int i = 0; i < Rows; ++i)
        for (std::int64_t j = 0; j < count; ++j) numbers[i * step + j] *= factor;
}

// The largest of each row's `count` numbers, a multiple of the lanes; rows lie `step` apart.
template <int Rows, class Number>
QKV_INLINE void find_largest(const Number* numbers, std::int64_t step, std::int64_t count,
                             Number* found) {
    Vector<Number> top[Rows];
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) top[i] = load(numbers + i * step);
    for (std::int64_t j = lanes<Number>; j < count; j += lanes<Number>)
#pragma GCC unroll 8
        for (int i = 0; i < Rows; ++i) top[i] = larger(load(numbers + i * step + j), top[i]);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) found[i] = largest<Number>(top[i]);
}

// Rows of weights as the arithmetic wants them, `row` operands apart.
template <class Operand>
struct Weights {
    Operand* data;
    std::int64_t row;

    QKV_INLINE Weights from_row(std::int64_t i) const { return {data + i * row, row}; }
};

// Turns scores of some rows, in a unit, into weights relative to a score of each row. They may lie
// where the scores lie. Finds their sums.
template <int Rows, class Arithmetic, class Number, class Operand>
QKV_INLINE void raise_to_powers(const Number* scores, std::int64_t step, Weights<Operand> to,
                                std::int64_t count, Number unit, const Number* shifts,
                                Number* sums) {
    Vector<Number> added[Rows] = {};
    Number shift[Rows];
    for (int i = 0; i < Rows; ++i) shift[i] = shifts[i];
    for (std::int64_t j = 0; j < count; j += lanes<Number>)
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i) {
            const Vector<Number> score = load(scores + i * step + j);
            const Vector<Number> weights = exp2<Number>(score * unit - shift[i]);
            Arithmetic::store_weights(to.data + i * to.row, j, weights);
            added[i] += weights;
        }
    for (int i = 0; i < Rows; ++i) sums[i] = sum<Number>(added[i]);
}

// Turns `count` more scores of some rows, in a positive unit, which lie `step` apart, into weights
// relative to the largest score of their row so far and adds them to the rows. Finds by what earlier
// sums shrink.
template <int Rows, class Arithmetic, class Number, class Operand>
QKV_INLINE void weigh(const Number* scores, std::int64_t step, Weights<Operand> to,
                      std::int64_t count, Number unit, RowState<Number>* rows, Number* factors) {
    constexpr int together = Rows % 2 == 0 ? 2 : 1;  // so many that their constants fit in registers
    Number top[Rows], shift[Rows], added[Rows];
    find_largest<Rows>(scores, step, count, top);
    for (int i = 0; i < Rows; ++i) {
        factors[i] = rows[i].raise(top[i] * unit);
        shift[i] = rows[i].shift();
    }
    for (int i = 0; i < Rows; i += together)
        raise_to_powers<together, Arithmetic>(scores + i * step, step, to.from_row(i), count, unit,
                                              shift + i, added + i);
    for (int i = 0; i < Rows; ++i) rows[i].total += added[i];
}

}  // namespace qkv::QKV_ISA
