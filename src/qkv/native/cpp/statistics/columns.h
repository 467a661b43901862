// Rows of weights of some queries of a strip folded into one, column by column.
#pragma once

#include "../normalizers/row.h"

namespace qkv::QKV_ISA {

// `count` rows of whole panels of columns, which lie `step` apart.
template <class Number>
struct Rows {
    const Number* weights;
    std::int64_t step, count, columns;
};

// The largest number of a column, NaN if there is one.
template <class Number>
Number largest_or_nan(Rows<Number> rows, std::int64_t column) {
    Number top = -infinity<Number>;
    for (std::int64_t i = 0; i < rows.count && top == top; ++i) {
        const Number next = rows.weights[i * rows.step + column];
        if (!(next <= top)) top = next;
    }
    return top;
}

// The sum of each column and, if it is wanted, its largest number.
template <bool Largest, class Number>
void fold_columns(Rows<Number> rows, Number* sums, Number* largest) {
    for (std::int64_t j = 0; j < rows.columns; j += panel_width<Number>) {
        Vector<Number> total[QKV_VECTORS], top[QKV_VECTORS];
#pragma GCC unroll 8
        for (int k = 0; k < QKV_VECTORS; ++k) {
            total[k] = Vector<Number>{};
            top[k] = broadcast(-infinity<Number>);
        }
        for (std::int64_t i = 0; i < rows.count; ++i)
#pragma GCC unroll 8
            for (int k = 0; k < QKV_VECTORS; ++k) {
                const Vector<Number> next =
                    load(rows.weights + i * rows.step + j + k * lanes<Number>);
                total[k] += next;
                if constexpr (Largest) top[k] = larger(next, top[k]);
            }
        Mask<Number> broken = {};
#pragma GCC unroll 8
        for (int k = 0; k < QKV_VECTORS; ++k) {
            store(sums + j + k * lanes<Number>, total[k]);
            if constexpr (Largest) store(largest + j + k * lanes<Number>, top[k]);
            broken |= total[k] != total[k];
        }
        // The comparison loses NaN, which the sum shows.
        if (Largest && bits_of<Number>(broken))
            for (std::int64_t i = j; i < j + panel_width<Number>; ++i)
                largest[i] = largest_or_nan(rows, i);
    }
}

}  // namespace qkv::QKV_ISA
