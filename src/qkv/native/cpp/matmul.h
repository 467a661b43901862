// Products of small matrices, built from one tile of sums held in registers.
#pragma once

#include "ranges.h"
#include "storage.h"

namespace qkv::QKV_ISA {

// 6 rows of sums and the vectors they are multiplied with fill the registers.
constexpr int tile_rows = 6;

template <class Number>
constexpr int panel_width = QKV_VECTORS * lanes<Number>;

constexpr std::int64_t terms_at_once = 128;  // of a sum in registers

// A matrix whose element (i, k) lies at data[i * row + k * column].
template <class Operand>
struct Strided {
    const Operand* data;
    std::int64_t row, column;
};

// What is multiplied: numbers, or words that hold several terms of a sum each.
template <class Operand>
struct Terms {
    typedef Operand Sum;
    static QKV_INLINE Vector<Operand> multiply_and_add(Vector<Operand> a, Vector<Operand> b,
                                                       Vector<Operand> sum) {
        return sum + a * b;
    }
    // b, with 0 where a is exactly 0.
    static QKV_INLINE Vector<Operand> where_not_zero(Vector<Operand> a, Vector<Operand> b) {
        return a == 0 ? Vector<Operand>{} : b;
    }
};
template <class Operand>
using Sum = typename Terms<Operand>::Sum;

template <class Number, int Rows, int Vectors>
struct Sums {
    Vector<Number> at[Rows][Vectors];
};

// Rows of a matrix one after the other, `row` apart.
template <class Operand, class Storage>
struct RowByRow {
    const Storage* data;
    std::int64_t row;

    template <int Vectors>
    QKV_INLINE void next(Vector<Operand> (&found)[Vectors]) {
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) found[j] = widened(data + j * lanes<Operand>);
        data += row;
    }
};

// The sums over k < depth of a(i, k) * b(k, j), for Rows x (Vectors * lanes) cells, where b hands out
// its rows. With SkipZeros an a(i, k) of exactly 0 annihilates whatever it meets, NaN included.
template <bool SkipZeros, int Rows, int Vectors, class Operand, class RowsOf>
QKV_INLINE Sums<Sum<Operand>, Rows, Vectors> product(Strided<Operand> a, RowsOf b,
                                                     std::int64_t depth) {
    using Number = Sum<Operand>;
    Sums<Number, Rows, Vectors> sums;
    // One by one: cleared as a whole the sums would be written to memory first.
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) sums.at[i][j] = Vector<Number>{};
#pragma GCC unroll 1
    for (std::int64_t k = 0; k < depth; ++k, a.data += a.column) {
        Vector<Operand> row[Vectors];
        b.next(row);
#pragma GCC unroll 8
        for (int i = 0; i < Rows; ++i) {
            const Vector<Operand> weight = broadcast(a.data[i * a.row]);
#pragma GCC unroll 8
            for (int j = 0; j < Vectors; ++j) {
                // Where nothing is skipped both ways give the same bits.
                const Vector<Operand> met =
                    SkipZeros ? Terms<Operand>::where_not_zero(weight, row[j]) : row[j];
                sums.at[i][j] = Terms<Operand>::multiply_and_add(weight, met, sums.at[i][j]);
            }
        }
    }
    return sums;
}

// c = a b for a tile's rows and the first Vectors of a panel of b, of `depth` rows.
//
// Functions with a product in them stay functions of their own: next to other work the compiler
// keeps some of its numbers in registers too, and a sum in memory.
template <int Vectors, class Operand>
__attribute__((noinline)) void multiply_panel(Sum<Operand>* c, std::int64_t c_row,
                                              Strided<Operand> a, const Operand* panel,
                                              std::int64_t depth) {
    using Number = Sum<Operand>;
    constexpr std::int64_t width = panel_width<Number>;
    std::int64_t k = 0;
    do {  // two levels of summation lose fewer digits than one
        const auto sums = product<false, tile_rows, Vectors>(
            Strided<Operand>{a.data + k * a.column, a.row, a.column},
            RowByRow<Operand, Operand>{panel + k * width, width}, smaller(depth - k, terms_at_once));
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 8
            for (int j = 0; j < Vectors; ++j) {
                Number* to = c + i * c_row + j * lanes<Number>;
                store(to, k == 0 ? sums.at[i][j] : load(to) + sums.at[i][j]);
            }
        k += terms_at_once;
    } while (k < depth);
}

// The same for some columns of a panel, at most Vectors times as many as there are lanes.
template <int Vectors, class Operand>
QKV_INLINE void multiply_part(Sum<Operand>* c, std::int64_t c_row, Strided<Operand> a,
                              const Operand* panel, std::int64_t depth, std::int64_t columns) {
    if constexpr (Vectors > 1)
        if (columns < Vectors * lanes<Sum<Operand>>)
            return multiply_part<Vectors - 1>(c, c_row, a, panel, depth, columns);
    multiply_panel<Vectors>(c, c_row, a, panel, depth);
}

// c = a b for a tile's rows and some columns of b, which begin and end at multiples of the lanes: panel p
// holds those from p * panel_width on. The first of them is the first of c.
template <class Operand>
void multiply(Sum<Operand>* c, std::int64_t c_row, Strided<Operand> a, const Operand* panels,
              std::int64_t depth, Range columns) {
    constexpr std::int64_t width = panel_width<Sum<Operand>>;
    for (std::int64_t column = columns.start; column < columns.stop;) {
        const std::int64_t place = column % width;  // in its panel
        const std::int64_t count = smaller(width - place, columns.stop - column);
        multiply_part<QKV_VECTORS>(c + column - columns.start, c_row, a,
                                   panels + (column - place) * depth + place, depth, count);
        column += count;
    }
}

// c = factors[i] * c + sums, in which a factor of exactly 0 annihilates with SkipZeros too.
template <bool SkipZeros, int Rows, int Vectors, class Number>
QKV_INLINE void add_to(Number* c, std::int64_t c_row, const Number* factors,
                       const Sums<Number, Rows, Vectors>& sums) {
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) {
            Number* to = c + i * c_row + j * lanes<Number>;
            const Vector<Number> factor = broadcast(factors[i]);
            Vector<Number> before = load(to);
            if constexpr (SkipZeros) before = factor == 0 ? Vector<Number>{} : before;
            store(to, factor * before + sums.at[i][j]);
        }
}

// c = factors[i] * c + a b for the columns [0, columns) of a tile's rows, which lie `c_row` apart;
// `columns` is a multiple of the lanes. The sum over `depth` is complete before it meets c: two
// levels of summation lose fewer digits than one.
template <bool SkipZeros, int Rows, class Operand, class Storage>
__attribute__((noinline)) void rescale_and_add(Sum<Operand>* c, std::int64_t c_row,
                                               const Sum<Operand>* factors, Strided<Operand> a,
                                               const Storage* b, std::int64_t b_row,
                                               std::int64_t depth, std::int64_t columns) {
    using Number = Sum<Operand>;
    std::int64_t column = 0;
    for (; column + panel_width<Number> <= columns; column += panel_width<Number>)
        add_to<SkipZeros>(c + column, c_row, factors,
                          product<SkipZeros, Rows, QKV_VECTORS>(
                              a, RowByRow<Operand, Storage>{b + column, b_row}, depth));
    for (; column < columns; column += lanes<Number>)
        add_to<SkipZeros>(c + column, c_row, factors,
                          product<SkipZeros, Rows, 1>(
                              a, RowByRow<Operand, Storage>{b + column, b_row}, depth));
}

// The same for matrices whose rows are whole: c and b are `width` wide. Unless everything in b is
// finite, what is exactly 0 annihilates.
template <int Rows, class Operand>
QKV_INLINE void update(bool finite, Sum<Operand>* c, const Sum<Operand>* factors,
                       Strided<Operand> a, const Operand* b, std::int64_t depth,
                       std::int64_t width) {
    if (finite)
        rescale_and_add<false, Rows>(c, width, factors, a, b, width, depth, width);
    else
        rescale_and_add<true, Rows>(c, width, factors, a, b, width, depth, width);
}

// c += a b.
template <int Rows = tile_rows, class Operand>
QKV_INLINE void add(bool finite, Sum<Operand>* c, Strided<Operand> a, const Operand* b,
                    std::int64_t depth, std::int64_t width) {
    static constexpr Sum<Operand> ones[] = {1, 1, 1, 1, 1, 1};
    static_assert(Rows <= tile_rows && tile_rows == 6);
    update<Rows>(finite, c, ones, a, b, depth, width);
}

// c += a^T b for `rows` rows of c. Column i of a, `depth` numbers that lie `a_row` apart, is for row i.
template <class Operand>
void add_transposed(bool finite, Sum<Operand>* c, const Operand* a, std::int64_t a_row,
                    std::int64_t rows, const Operand* b, std::int64_t depth, std::int64_t width) {
    std::int64_t i = 0;
    for (; i + tile_rows <= rows; i += tile_rows)
        add(finite, c + i * width, Strided<Operand>{a + i, 1, a_row}, b, depth, width);
    for (; i < rows; ++i)
        add<1>(finite, c + i * width, Strided<Operand>{a + i, 1, a_row}, b, depth, width);
}

}  // namespace qkv::QKV_ISA
