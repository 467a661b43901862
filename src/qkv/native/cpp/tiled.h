// The arithmetic of bfloat16 by the processor's matrix unit.
#pragma once

#include "arithmetic.h"
#include "tile_products.h"

namespace qkv::QKV_ISA {

struct Tiled : OfPairs {
    using Operand = Pair;
    using Number = float;
    static constexpr std::int64_t terms = 2;
    static constexpr int rows = tiled_rows;
    static constexpr int rows_weighed = 4;
    static constexpr std::int64_t columns_at_once = terms * tile_side;
    using Session = TileSession;

    static std::int64_t operands(std::int64_t width) {
        return rounded_up((width + 1) / 2, tile_side);
    }

    static void multiply(float* c, std::int64_t c_row, Strided<Pair> a, const Pair* panels,
                         std::int64_t depth, std::int64_t columns) {
        constexpr std::int64_t width = panel_width<float>;
        multiply_by_tiles<false>(c, c_row, a, {panels, width, depth * width}, depth, columns);
    }
    static void update(bool finite, float* c, const float* factors, Strided<Pair> a, const Pair* b,
                       std::int64_t depth, std::int64_t width) {
        for (int i = 0; i < rows; ++i)
            if (factors[i] != 1) rescale(c + i * width, factors[i], width);
        add(finite, c, a, b, depth, width);
    }
    static void add(bool finite, float* c, Strided<Pair> a, const Pair* b, std::int64_t depth,
                    std::int64_t width) {
        if (finite)
            multiply_by_tiles<true>(c, width, a, {b, width, 0}, depth, width);
        else
            add_skipping_zeros(c, width, a, b, width, depth, width);
    }

    // Terms of sums over columns have a matrix of their own, for tiles want them side by side.
    static std::int64_t column_operands(std::int64_t queries, std::int64_t keys) {
        return keys * column_row(queries);
    }
    static Strided<Pair> columns(const Pair* of, std::int64_t row, std::int64_t key, std::int64_t,
                                 std::int64_t queries) {
        return {of + key * column_row(queries) + row / 2, column_row(queries), 1};
    }
    static void make_terms(const Cells<Pair>& cells, std::int64_t first, std::int64_t count,
                           std::int64_t queries) {
        for (std::int64_t row = first; row < first + rows; ++row) make_row(cells, row, count);
        const std::int64_t step = column_row(queries), start = first * cells.row;
        transpose_pairs(cells.weights + start, cells.row, count, cells.weight_columns + first / 2, step);
        transpose_pairs(cells.gradients + start, cells.row, count, cells.gradient_columns + first / 2,
                        step);
    }

   private:
    // Rows a power of two apart would compete for the same places of the cache.
    static std::int64_t column_row(std::int64_t queries) {
        return rounded_up(queries / 2, tile_side) + tile_side;
    }

    static void rescale(float* row, float factor, std::int64_t width) {
        for (std::int64_t j = 0; j < width; j += lanes<float>)
            store(row + j, factor == 0 ? Vector<float>{} : load(row + j) * factor);
    }

    // Pairs of neighbouring rows of numbers, of which there are `rows`, as rows of their columns.
    static void transpose_pairs(const float* numbers, std::int64_t row, std::int64_t count, Pair* to,
                                std::int64_t to_row) {
        static_assert(lanes<float> == tile_side && rows == 2 * tile_side);
        for (std::int64_t j = 0; j < count; j += lanes<float>) {
            Vector<float> square[tile_side];
            for (int i = 0; i < tile_side; ++i) {
                const float* first = numbers + 2 * i * row + j;
                square[i] = same_bits<Vector<float>>(paired(load(first), load(first + row)));
            }
            transpose<float>(square);
            for (int i = 0; i < tile_side; ++i)
                __builtin_memcpy(to + (j + i) * to_row, &square[i], sizeof square[i]);
        }
    }
};

}  // namespace qkv::QKV_ISA
