// The derivative of the additive score. With r = 1 / (1 + e^2(query_d + key_d)) and the gradients g
// of the scores,
//
//   query_gradient_id = 4 weight_d sum_j g_ij r (1 - r), key_gradient_jd likewise over i,
//   weight_gradient_d = sum_ij g_ij (1 - 2 r).
//
// Vectors run over d. The factors 4 weight_d and -2 are for whoever ends the sums: here are added
// g r (1 - r) and g (r - 1/2).
#pragma once

#include "additive_tile.h"

namespace qkv::QKV_ISA {

// Six queries and some keys: rows of `row` numbers, padded to whole vectors. What is added to has
// such rows too, `weight_gradient` one of them. Only the keys at `places` are read, `count` of them;
// `halves` has half the sum of each one's gradients.
template <class Number>
struct AdditiveCells {
    std::int64_t row;
    const std::int32_t* places;
    const Number* halves;
    std::int64_t count;
    const Number *query, *key;              // as powers
    const Number *raw_query, *raw_key;      // themselves; read where powers do not reach
    const Number *query_reach, *key_reach;  // the largest |number| of each
    const Number* gradients;                // of the scores: those of a query side by side
    std::int64_t gradients_row;
    Number *query_gradient, *key_gradient, *weight_gradient;
};

template <class Number>
QKV_INLINE bool can_use_powers(const AdditiveCells<Number>& cells, int i, std::int64_t j) {
    return cells.query_reach[i] + cells.key_reach[j] <= additive_reach<Number>;
}

// r of one query and one key. Two vectors share a division: what belongs to other cells has no part
// in it, so that nothing that is broken reaches them.
template <bool Any, int Vectors, class Number>
QKV_INLINE void find_shares(const AdditiveCells<Number>& cells, int i, std::int64_t j,
                            std::int64_t column, Vector<Number> (&r)[Vectors]) {
    const std::int64_t query = i * cells.row + column, key = j * cells.row + column;
    if (Any && !can_use_powers(cells, i, j)) {
        for (int k = 0; k < Vectors; ++k)
            r[k] = share<Number>(load(cells.raw_query + query + k * lanes<Number>) +
                                 load(cells.raw_key + key + k * lanes<Number>));
        return;
    }
    const Vector<Number> x = load(cells.query + query) * load(cells.key + key) + 1;
    if constexpr (Vectors == 1) {
        r[0] = 1 / x;
    } else {
        const Vector<Number> y = load(cells.query + query + lanes<Number>) *
                                     load(cells.key + key + lanes<Number>) + 1;
        const Vector<Number> both = 1 / (x * y);
        r[0] = both * y;
        r[1] = both * x;
    }
}

template <class Number>
QKV_INLINE void add_vector(Number* to, Vector<Number> sum) {
    store(to, load(to) + sum);
}

// Some columns. The sums over the keys are complete before they meet what is added to: two levels of
// summation lose fewer digits than one.
template <bool Any, int Vectors, class Number>
QKV_INLINE void add_some_gradients(const AdditiveCells<Number>& cells, std::int64_t column) {
    Vector<Number> of_query[tile_rows][Vectors] = {}, of_weight[Vectors] = {};
#pragma GCC unroll 1
    for (std::int64_t n = 0; n < cells.count; ++n) {
        const std::int64_t j = cells.places[n];
        Vector<Number> of_key[Vectors] = {}, shares[Vectors] = {};
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i) {
            const Number gradient = cells.gradients[i * cells.gradients_row + j];
            if (Any && gradient == 0) continue;  // annihilates what is not finite
            Vector<Number> r[Vectors];
            find_shares<Any>(cells, i, j, column, r);
#pragma GCC unroll 2
            for (int k = 0; k < Vectors; ++k) {
                const Vector<Number> product = gradient * r[k], term = product - product * r[k];
                shares[k] += product;
                of_key[k] += term;
                of_query[i][k] += term;
            }
        }
#pragma GCC unroll 2
        for (int k = 0; k < Vectors; ++k) {
            of_weight[k] += shares[k] - cells.halves[n];
            add_vector(cells.key_gradient + j * cells.row + column + k * lanes<Number>, of_key[k]);
        }
    }
#pragma GCC unroll 2
    for (int k = 0; k < Vectors; ++k) {
        const std::int64_t at = column + k * lanes<Number>;
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i)
            add_vector(cells.query_gradient + i * cells.row + at, of_query[i][k]);
        add_vector(cells.weight_gradient + at, of_weight[k]);
    }
}

// `Any`: there may be queries and keys for which powers do not serve. The others give the same bits.
template <bool Any, class Number>
__attribute__((noinline)) void add_additive_gradients(const AdditiveCells<Number>& cells) {
    std::int64_t column = 0;
    for (; column + 2 * lanes<Number> <= cells.row; column += 2 * lanes<Number>)
        add_some_gradients<Any, 2>(cells, column);
    if (column < cells.row) add_some_gradients<Any, 1>(cells, column);
}

}  // namespace qkv::QKV_ISA
