// Products of bfloat16 pairs, 32 rows at a time, by tiles. A number is one bfloat16 or the sum of some:
// its pieces.
#pragma once

#include "tiles.h"

namespace qkv::QKV_ISA {

constexpr std::int64_t tiled_rows = 2 * tile_side;

// Columns of pairs, as wide as a panel or as the whole matrix.
struct PairColumns {
    const Pair* data;
    std::int64_t row, panel;  // panel: how far apart panels are, of panel_width columns; 0: one alone

    QKV_INLINE const Pair* at(std::int64_t column) const {
        if (panel == 0) return data + column;
        constexpr std::int64_t width = panel_width<float>;
        return data + column / width * panel + column % width;
    }
};

// Two tiles of columns: four tiles of sums, tiles 0 to 3, of which those of one row of tiles follow
// each other. Where they are stored once they are complete.
struct SumTiles {
    float* to;
    std::int64_t row;

    template <int T>
    QKV_INLINE float* place() const {
        return to + T / 2 * tile_side * row + T % 2 * tile_side;
    }
    template <int T>
    QKV_INLINE void store() const {
        if (to) store_tile<T>(place<T>(), 4 * row);
    }
    template <int T, bool Add>
    QKV_INLINE void begin() const {
        if constexpr (Add)
            load_tile<T>(place<T>(), 4 * row);
        else
            zero_tile<T>();
    }
};

// Which pieces of two numbers are multiplied with each other, so that about as many bits of their
// product are right as they have; the smallest first.
struct PieceProduct {
    std::int64_t a, b;
};
template <int Pieces>
struct Products;
template <>
struct Products<1> {
    static constexpr PieceProduct all[] = {{0, 0}};
};
template <>
struct Products<2> {
    static constexpr PieceProduct all[] = {{1, 0}, {0, 1}, {0, 0}};
};
template <>
struct Products<3> {
    static constexpr PieceProduct all[] = {{2, 0}, {0, 2}, {1, 1}, {1, 0}, {0, 1}, {0, 0}};
};

// c (+)= a b for 32 rows, `columns` a multiple of 16. Of the terms of a sum each 16 pairs are a group:
// the first pieces of its numbers, then the second ones, and so on; `groups` of them side by side in a
// row of a, below each other in b. Sums are stored between the first products of the next ones: stored
// at their end they would keep the unit waiting.
template <bool Add, int Pieces>
void multiply_by_tiles(float* c, std::int64_t c_row, Strided<Pair> a, PairColumns b,
                       std::int64_t groups, std::int64_t columns) {
    constexpr auto& products = Products<Pieces>::all;
    const std::int64_t a_bytes = 4 * a.row, b_bytes = 4 * b.row, b_piece = tile_side * b.row;
    const Pair *upper = a.data, *lower = a.data + tile_side * a.row;
    SumTiles last = {nullptr, c_row};
    std::int64_t column = 0;
    for (; column + 2 * tile_side <= columns; column += 2 * tile_side) {
        const SumTiles sums = {c + column, c_row};
        const Pair *left = b.at(column), *right = b.at(column + tile_side);
        std::int64_t a_at = tile_side * products[0].a, b_at = b_piece * products[0].b;
        load_tile<4>(upper + a_at, a_bytes);
        load_tile<6>(left + b_at, b_bytes);
        last.store<0>();
        sums.begin<0, Add>();
        multiply_tiles<0, 4, 6>();
        load_tile<7>(right + b_at, b_bytes);
        last.store<1>();
        sums.begin<1, Add>();
        multiply_tiles<1, 4, 7>();
        load_tile<5>(lower + a_at, a_bytes);
        last.store<2>();
        sums.begin<2, Add>();
        multiply_tiles<2, 5, 6>();
        last.store<3>();
        sums.begin<3, Add>();
        multiply_tiles<3, 5, 7>();
        std::int64_t begun = 1;
        for (const PieceProduct& product : products) {
            for (std::int64_t group = begun; group < groups; ++group) {
                a_at = tile_side * (group * Pieces + product.a);
                b_at = b_piece * (group * Pieces + product.b);
                load_tile<4>(upper + a_at, a_bytes);
                load_tile<6>(left + b_at, b_bytes);
                load_tile<7>(right + b_at, b_bytes);
                load_tile<5>(lower + a_at, a_bytes);
                multiply_tiles<0, 4, 6>();
                multiply_tiles<1, 4, 7>();
                multiply_tiles<2, 5, 6>();
                multiply_tiles<3, 5, 7>();
            }
            begun = 0;
        }
        last = sums;
    }
    last.store<0>(), last.store<1>(), last.store<2>(), last.store<3>();
    if (column == columns) return;
    const SumTiles sums = {c + column, c_row};
    const Pair* left = b.at(column);
    sums.begin<0, Add>(), sums.begin<2, Add>();
    for (const PieceProduct& product : products)
        for (std::int64_t group = 0; group < groups; ++group) {
            load_tile<6>(left + b_piece * (group * Pieces + product.b), b_bytes);
            const std::int64_t a_at = tile_side * (group * Pieces + product.a);
            load_tile<4>(upper + a_at, a_bytes);
            load_tile<5>(lower + a_at, a_bytes);
            multiply_tiles<0, 4, 6>();
            multiply_tiles<2, 5, 6>();
        }
    sums.store<0>(), sums.store<2>();
}

QKV_INLINE bool is_special(std::uint32_t bits) { return (bits & 0x7f80u) == 0x7f80u; }

// The term of a pair, in the lower half or the upper one.
QKV_INLINE std::uint32_t term(Pair pair, int half) { return pair.bits >> 16 * half & 0xffffu; }
QKV_INLINE float value_of(std::uint32_t term) { return same_bits<float>(term << 16); }

// c += a b, in which a term of exactly 0 annihilates whatever it meets. What is not finite is left out
// of the products and added by itself, so that all other sums have the same bits as without it. Such a
// number is whole in its first piece, and a term is 0 where its first piece is.
template <int Pieces>
void add_skipping_zeros(float* c, std::int64_t c_row, Strided<Pair> a, const Pair* b,
                        std::int64_t groups, std::int64_t columns) {
    constexpr std::int64_t rows = Pieces * tile_side;  // of a group
    constexpr std::int64_t most_groups = 8;            // all that a tile of cells has
    Pair finite[most_groups * rows * tile_side];
    for (std::int64_t column = 0; column < columns; column += tile_side)
        for (std::int64_t group = 0; group < groups; group += most_groups) {
            const std::int64_t some = smaller(groups - group, most_groups);
            const Strided<Pair> left = {a.data + group * rows, a.row, 1};
            const auto pair_at = [&](std::int64_t row, std::int64_t j) {
                return b[(group * rows + row) * columns + column + j];
            };
            for (std::int64_t i = 0; i < some * rows * tile_side; ++i) {
                const Pair pair = pair_at(i / tile_side, i % tile_side);
                finite[i].bits = (is_special(term(pair, 0)) ? 0 : pair.bits & 0xffffu) |
                                 (is_special(term(pair, 1)) ? 0 : pair.bits & 0xffff0000u);
            }
            multiply_by_tiles<true, Pieces>(c + column, c_row, left, {finite, tile_side, 0}, some,
                                            tile_side);
            for (std::int64_t k = 0; k < some * rows; ++k) {
                if (k / tile_side % Pieces != 0) continue;  // no first piece
                for (std::int64_t j = 0; j < tile_side; ++j)
                    for (int half = 0; half < 2; ++half) {
                        const std::uint32_t special = term(pair_at(k, j), half);
                        if (!is_special(special)) continue;
                        for (std::int64_t row = 0; row < tiled_rows; ++row) {
                            const float weight = value_of(term(left.data[row * a.row + k], half));
                            if (weight != 0)
                                c[row * c_row + column + j] += weight * value_of(special);
                        }
                    }
            }
        }
}

// Of the terms of a sum in groups: its pairs' places, those of one piece `piece` apart.
struct PiecesOfTerms {
    const Pair* data;
    std::int64_t step, pieces;  // from a pair to the next; of a number

    // The k-th number's pieces added up.
    float number(std::int64_t k) const {
        const Pair* first = data + (k / 32 * pieces * tile_side + k % 32 / 2) * step;
        float sum = 0;
        for (std::int64_t i = pieces - 1; i >= 0; --i)
            sum += value_of(term(first[i * tile_side * step], k % 2));
        return sum;
    }
    bool is_finite(std::int64_t count) const {
        for (std::int64_t k = 0; k < count; ++k)
            if (number(k) - number(k) != 0) return false;
        return true;
    }
};

// Cells of c = a b once more where a row of a or a column of b has a number that is not finite: the
// other pieces of the numbers that it meets would make NaN of an infinity.
template <int Pieces>
void mend_cells(float* c, std::int64_t c_row, Strided<Pair> a, PairColumns b, std::int64_t groups,
                std::int64_t columns) {
    const std::int64_t depth = groups * 2 * tile_side;
    bool finite_rows[tiled_rows];
    for (std::int64_t row = 0; row < tiled_rows; ++row)
        finite_rows[row] = PiecesOfTerms{a.data + row * a.row, 1, Pieces}.is_finite(depth);
    for (std::int64_t column = 0; column < columns; ++column) {
        const PiecesOfTerms right = {b.at(column), b.row, Pieces};
        const bool finite = right.is_finite(depth);
        for (std::int64_t row = 0; row < tiled_rows; ++row) {
            if (finite && finite_rows[row]) continue;
            const PiecesOfTerms left = {a.data + row * a.row, 1, Pieces};
            float sum = 0;
            for (std::int64_t k = 0; k < depth; ++k) sum += left.number(k) * right.number(k);
            c[row * c_row + column] = sum;
        }
    }
}

}  // namespace qkv::QKV_ISA
