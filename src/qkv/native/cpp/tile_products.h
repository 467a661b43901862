// Products of bfloat16 pairs, 32 rows at a time, by tiles.
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

// c (+)= a b for 32 rows, `columns` a multiple of 16 and `depth` pairs, a multiple of 16. Sums are
// stored between the first products of the next ones: stored at their end they would keep the unit
// waiting.
template <bool Add>
void multiply_by_tiles(float* c, std::int64_t c_row, Strided<Pair> a, PairColumns b,
                       std::int64_t depth, std::int64_t columns) {
    const std::int64_t a_bytes = 4 * a.row, b_bytes = 4 * b.row, step = tile_side * b.row;
    const Pair *upper = a.data, *lower = a.data + tile_side * a.row;
    SumTiles last = {nullptr, c_row};
    std::int64_t column = 0;
    for (; column + 2 * tile_side <= columns; column += 2 * tile_side) {
        const SumTiles sums = {c + column, c_row};
        const Pair *left = b.at(column), *right = b.at(column + tile_side);
        load_tile<4>(upper, a_bytes);
        load_tile<6>(left, b_bytes);
        last.store<0>();
        sums.begin<0, Add>();
        multiply_tiles<0, 4, 6>();
        load_tile<7>(right, b_bytes);
        last.store<1>();
        sums.begin<1, Add>();
        multiply_tiles<1, 4, 7>();
        load_tile<5>(lower, a_bytes);
        last.store<2>();
        sums.begin<2, Add>();
        multiply_tiles<2, 5, 6>();
        last.store<3>();
        sums.begin<3, Add>();
        multiply_tiles<3, 5, 7>();
        for (std::int64_t k = tile_side; k < depth; k += tile_side) {
            left += step, right += step;
            load_tile<4>(upper + k, a_bytes);
            load_tile<6>(left, b_bytes);
            load_tile<7>(right, b_bytes);
            load_tile<5>(lower + k, a_bytes);
            multiply_tiles<0, 4, 6>();
            multiply_tiles<1, 4, 7>();
            multiply_tiles<2, 5, 6>();
            multiply_tiles<3, 5, 7>();
        }
        last = sums;
    }
    last.store<0>(), last.store<1>(), last.store<2>(), last.store<3>();
    if (column == columns) return;
    const SumTiles sums = {c + column, c_row};
    const Pair* left = b.at(column);
    sums.begin<0, Add>(), sums.begin<2, Add>();
    for (std::int64_t k = 0; k < depth; k += tile_side, left += step) {
        load_tile<6>(left, b_bytes);
        load_tile<4>(upper + k, a_bytes);
        load_tile<5>(lower + k, a_bytes);
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
// of the products and added by itself, so that all other sums have the same bits as without it.
inline void add_skipping_zeros(float* c, std::int64_t c_row, Strided<Pair> a, const Pair* b,
                               std::int64_t b_row, std::int64_t depth, std::int64_t columns) {
    Pair finite[tile_side * tile_side];
    for (std::int64_t column = 0; column < columns; column += tile_side)
        for (std::int64_t k = 0; k < depth; k += tile_side) {
            const Strided<Pair> left = {a.data + k, a.row, 1};
            for (std::int64_t i = 0; i < tile_side * tile_side; ++i) {
                const Pair pair = b[(k + i / tile_side) * b_row + column + i % tile_side];
                finite[i].bits = (is_special(term(pair, 0)) ? 0 : pair.bits & 0xffffu) |
                                 (is_special(term(pair, 1)) ? 0 : pair.bits & 0xffff0000u);
            }
            multiply_by_tiles<true>(c + column, c_row, left, {finite, tile_side, 0}, tile_side,
                                    tile_side);
            for (std::int64_t i = 0; i < tile_side * tile_side; ++i) {
                const Pair pair = b[(k + i / tile_side) * b_row + column + i % tile_side];
                for (int half = 0; half < 2; ++half) {
                    if (!is_special(term(pair, half))) continue;
                    for (std::int64_t row = 0; row < tiled_rows; ++row) {
                        const Pair weights = left.data[row * a.row + i / tile_side];
                        const float weight = value_of(term(weights, half));
                        if (weight != 0)
                            c[row * c_row + column + i % tile_side] +=
                                weight * value_of(term(pair, half));
                    }
                }
            }
        }
}

}  // namespace qkv::QKV_ISA
