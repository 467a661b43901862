// The derivative of the additive score. With r = 1 / (1 + e^2(query_d + key_d)) and the gradients g
// of the scores,
//
//   query_gradient_id = 4 weight_d sum_j g_ij r (1 - r), key_gradient_jd likewise over i,
//   weight_gradient_d = sum_ij g_ij (1 - 2 r).
//
// Vectors run over d. The factors 4 weight_d and 1 - 2 r are for whoever ends the sums: here are
// added g r (1 - r) and g r.
#pragma once

#include "additive.h"

namespace qkv::QKV_ISA {

// Six queries and some keys, rows of `row` numbers that are padded to whole vectors: powers, or the
// numbers themselves for the `_of_any` kind. What is added to, with rows as far apart; `weight`
// holds one row. The sums over the keys are complete before they meet what is added to: two levels
// of summation lose fewer digits than one.
template <class Number>
struct AdditiveCells {
    std::int64_t row, keys;
    const Number *query, *key;
    const Number* gradients;  // of the scores: those of a query side by side
    std::int64_t gradients_row;
    Number *query_gradient, *key_gradient, *weight_gradient;
};

template <class Number>
struct AdditiveSums {
    Vector<Number> query[tile_rows] = {}, weight = {};
    Vector<Number> key, weight_of_key;  // of one key

    QKV_INLINE void begin_key() { key = weight_of_key = Vector<Number>{}; }

    QKV_INLINE void add(int i, Number gradient, Vector<Number> r) {
        const Vector<Number> product = gradient * r, term = product - product * r;
        weight_of_key += product;
        query[i] += term;
        key += term;
    }

    QKV_INLINE void end_key(Number* key_gradient) {
        add_to(key_gradient, key);
        weight += weight_of_key;
    }

    QKV_INLINE void end(const AdditiveCells<Number>& cells, std::int64_t column) const {
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i)
            add_to(cells.query_gradient + i * cells.row + column, query[i]);
        add_to(cells.weight_gradient + column, weight);
    }

    static QKV_INLINE void add_to(Number* to, Vector<Number> sum) { store(to, load(to) + sum); }
};

template <class Number>
__attribute__((noinline)) void add_additive_gradients(const AdditiveCells<Number>& cells) {
    const std::int64_t row = cells.row, step = cells.gradients_row;
    for (std::int64_t column = 0; column < row; column += lanes<Number>) {
        AdditiveSums<Number> sums;
        const Number *query = cells.query + column, *gradient = cells.gradients;
#pragma GCC unroll 1
        for (std::int64_t j = 0; j < cells.keys; ++j, ++gradient) {
            const Vector<Number> key = load(cells.key + j * row + column);
            sums.begin_key();
#pragma GCC unroll 8
            for (int i = 0; i < tile_rows; i += 2) {
                const Vector<Number> x = load(query + i * row) * key + 1;
                const Vector<Number> y = load(query + (i + 1) * row) * key + 1;
                const Vector<Number> both = 1 / (x * y);
                sums.add(i, gradient[i * step], both * y);
                sums.add(i + 1, gradient[(i + 1) * step], both * x);
            }
            sums.end_key(cells.key_gradient + j * row + column);
        }
        sums.end(cells, column);
    }
}

// The same for any numbers. A gradient of exactly 0 annihilates what is not finite.
template <class Number>
__attribute__((noinline)) void add_additive_gradients_of_any(const AdditiveCells<Number>& cells) {
    const std::int64_t row = cells.row;
    for (std::int64_t column = 0; column < row; column += lanes<Number>) {
        AdditiveSums<Number> sums;
        for (std::int64_t j = 0; j < cells.keys; ++j) {
            const Vector<Number> key = load(cells.key + j * row + column);
            sums.begin_key();
            for (int i = 0; i < tile_rows; ++i) {
                const Number gradient = cells.gradients[i * cells.gradients_row + j];
                if (gradient == 0) continue;
                sums.add(i, gradient, share<Number>(load(cells.query + i * row + column) + key));
            }
            sums.end_key(cells.key_gradient + j * row + column);
        }
        sums.end(cells, column);
    }
}

}  // namespace qkv::QKV_ISA
