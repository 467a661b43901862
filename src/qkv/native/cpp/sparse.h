// Products of a row that has few numbers other than 0 with a matrix: only those rows of the matrix
// are read.
#pragma once

#include "long_sums.h"

namespace qkv::QKV_ISA {

// The numbers of a row that are not 0 and the rows of a matrix that they belong to.
template <class Number>
struct Sparse {
    const Number* numbers;
    const std::int32_t* places;
    std::int64_t count;
};

// The vectors of a row that are summed in registers at a time.
template <int Vectors, class Number>
QKV_INLINE void add_some_columns(Number* to, Sparse<Number> row, const Number* matrix,
                                 std::int64_t width) {
    Vector<Number> sums[Vectors] = {};
    for (std::int64_t i = 0; i < row.count; ++i) {
        const Number number = row.numbers[i];
        if (number == 0) continue;  // annihilates
        const Number* from = matrix + row.places[i] * width;
#pragma GCC unroll 8
        for (int k = 0; k < Vectors; ++k) sums[k] += load(from + k * lanes<Number>) * number;
    }
#pragma GCC unroll 8
    for (int k = 0; k < Vectors; ++k)
        store(to + k * lanes<Number>, load(to + k * lanes<Number>) + sums[k]);
}

// to += row matrix: the sum of numbers[i] times row places[i] of the matrix. Widths are whole vectors.
template <class Number>
void add_product(Number* to, Sparse<Number> row, const Number* matrix, std::int64_t width) {
    constexpr std::int64_t step = 256;
    LongSums<Number> long_sums(to, width, (row.count + step - 1) / step);
    for (std::int64_t i = 0; i < row.count; i += step, long_sums.added()) {
        const Sparse<Number> some = {row.numbers + i, row.places + i, smaller(row.count - i, step)};
        std::int64_t j = 0;
        for (; j + 8 * lanes<Number> <= width; j += 8 * lanes<Number>)
            add_some_columns<8>(to + j, some, matrix + j, width);
        for (; j < width; j += lanes<Number>) add_some_columns<1>(to + j, some, matrix + j, width);
    }
    long_sums.finish();
}

// Adds numbers[i] times a row to row places[i] of the matrix.
template <class Number>
void add_outer_product(Number* matrix, Sparse<Number> row, const Number* from, std::int64_t width) {
    for (std::int64_t i = 0; i < row.count; ++i) {
        const Number number = row.numbers[i];
        if (number == 0) continue;
        Number* to = matrix + row.places[i] * width;
        for (std::int64_t j = 0; j < width; j += lanes<Number>)
            store(to + j, load(to + j) + load(from + j) * number);
    }
}

// found[i] = the inner product of a row with row places[i] of the matrix.
template <class Number>
void inner_products(Number* found, const std::int32_t* places, std::int64_t count,
                    const Number* row, const Number* matrix, std::int64_t width) {
    for (std::int64_t i = 0; i < count; ++i) {
        const Number* other = matrix + places[i] * width;
        Vector<Number> even = {}, odd = {};
        std::int64_t j = 0;
        for (; j + 2 * lanes<Number> <= width; j += 2 * lanes<Number>) {
            even += load(row + j) * load(other + j);
            odd += load(row + j + lanes<Number>) * load(other + j + lanes<Number>);
        }
        if (j < width) even += load(row + j) * load(other + j);
        found[i] = sum<Number>(even + odd);
    }
}

}  // namespace qkv::QKV_ISA
