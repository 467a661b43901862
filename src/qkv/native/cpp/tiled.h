// The arithmetic of the processor's matrix unit: of bfloat16 as it is, of float16 and float32 as sums
// of it.
#pragma once

#include "arithmetic.h"
#include "pieces.h"

namespace qkv::QKV_ISA {

// What is common to all.
template <int Pieces_>
struct OfTiles {
    static constexpr int pieces = Pieces_;
    static constexpr std::int64_t terms = 2;
    using Operand = Pair;
    using Number = float;
    using Session = TileSession;
    static constexpr int rows = tiled_rows;
    static constexpr int rows_weighed = 4;
    static constexpr std::int64_t columns_at_once = 2 * tile_side;
    static constexpr std::int64_t columns_begin_at = panel_width<float>;
    static constexpr bool in_place = pieces == 1;
    static constexpr bool rows_are_terms = false;
    static constexpr std::int64_t most_rows = pieces == 1 ? 192 : 128;

    static constexpr std::int64_t operands(std::int64_t terms) { return operands_of<pieces>(terms); }

    static void multiply(bool finite, float* c, std::int64_t c_row, Strided<Pair> a,
                         const Pair* panels, std::int64_t depth, Range columns) {
        constexpr std::int64_t width = panel_width<float>;
        const PairColumns b = {panels + columns.start * depth, width, depth * width};
        const std::int64_t groups = depth / (pieces * tile_side), count = columns.size();
        multiply_by_tiles<false, pieces>(c, c_row, a, b, groups, count);
        if (pieces > 1 && !finite) mend_cells<pieces>(c, c_row, a, b, groups, count);
    }
    static void update(bool finite, float* c, const float* factors, Strided<Pair> a, const Pair* b,
                       std::int64_t depth, std::int64_t width) {
        for (int i = 0; i < rows; ++i)
            if (factors[i] != 1) rescale(c + i * width, factors[i], width);
        add(finite, c, a, b, depth, width);
    }
    static void add(bool finite, float* c, Strided<Pair> a, const Pair* b, std::int64_t depth,
                    std::int64_t width) {
        const std::int64_t groups = depth / (pieces * tile_side);
        if (finite)
            multiply_by_tiles<true, pieces>(c, width, a, {b, width, 0}, groups, width);
        else
            add_skipping_zeros<pieces>(c, width, a, b, groups, width);
    }

    // Terms of sums over columns have a matrix of their own, for tiles want them side by side.
    static std::int64_t column_operands(std::int64_t queries, std::int64_t keys) {
        return keys * column_row(queries);
    }
    static Strided<Pair> columns(const Pair* of, std::int64_t row, std::int64_t key, std::int64_t,
                                 std::int64_t queries) {
        return {of + key * column_row(queries) + operands(row), column_row(queries), 1};
    }
    static void add_columns(bool finite, float* c, const Pair* of, std::int64_t key,
                            std::int64_t keys, std::int64_t cells_row, std::int64_t queries,
                            const Pair* b, std::int64_t count, std::int64_t width) {
        for (std::int64_t i = 0; i < keys; i += rows)
            add(finite, c + i * width, columns(of, 0, key + i, cells_row, queries), b,
                operands(count), width);
    }
    static void make_terms(const Cells<Pair>& cells, std::int64_t first, std::int64_t count,
                           std::int64_t queries) {
        for (std::int64_t row = first; row < first + rows; ++row)
            for (std::int64_t j = 0; j < count; j += lanes<float>)
                store_terms(cells.gradient_rows + row * cells.operands_row, j,
                            load(cells.gradients + row * cells.row + j));
        const std::int64_t step = column_row(queries), start = first * cells.row;
        transpose_pairs(cells.weights + start, cells.row, count,
                        cells.weight_columns + operands(first), step);
        transpose_pairs(cells.gradients + start, cells.row, count,
                        cells.gradient_columns + operands(first), step);
    }

   private:
    // Rows a power of two apart would compete for the same places of the cache.
    static std::int64_t column_row(std::int64_t queries) { return operands(queries) + tile_side; }

    static QKV_INLINE void store_terms(Pair* row, std::int64_t j, Vector<float> numbers) {
        if constexpr (pieces == 1)
            store_rounded(row + j / 2, numbers);
        else
            store_pieces<pieces>(row, j, numbers);
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
            Vector<float> squares[pieces][tile_side];
            for (int i = 0; i < tile_side; ++i) {
                const float* first = numbers + 2 * i * row + j;
                put_pairs(load(first), load(first + row), squares, i);
            }
            for (int piece = 0; piece < pieces; ++piece) {
                transpose<float>(squares[piece]);
                for (int i = 0; i < tile_side; ++i)
                    __builtin_memcpy(to + (j + i) * to_row + piece * tile_side, &squares[piece][i],
                                     sizeof squares[piece][i]);
            }
        }
    }
    static QKV_INLINE void put_pairs(Vector<float> first, Vector<float> second,
                                     Vector<float> (&squares)[pieces][tile_side], int i) {
        if constexpr (pieces == 1) {
            squares[0][i] = same_bits<Vector<float>>(paired(first, second));
        } else {
            const PairedPieces<pieces> found(first, second);
            for (int piece = 0; piece < pieces; ++piece)
                squares[piece][i] = same_bits<Vector<float>>(found.at[piece]);
        }
    }
};

// Of numbers in pieces. Queries are multiplied by the unit of scores before they are taken apart.
template <class Storage>
struct Tiled : OfTiles<sizeof(Storage) == 2 ? 2 : 3> {
    using Of = OfTiles<sizeof(Storage) == 2 ? 2 : 3>;
    static double of_queries(double unit) { return unit; }
    static double of_scores(double) { return 1; }
    static double of_key_gradients(double scale, double) { return scale; }

    static bool pack_rows(Block<Storage> block, double factor, Pair* to, std::int64_t stride,
                          std::int64_t padded_rows) {
        return pack_pieces<Of::pieces>(block, float(factor), to, stride, padded_rows);
    }
    static bool pack_terms(Block<Storage> block, Pair* to, std::int64_t stride,
                           std::int64_t padded_rows) {
        return pack_pieces_of_rows<Of::pieces>(block, to, stride, padded_rows);
    }
    static bool pack_panels(Block<Storage> block, Pair* to, std::int64_t columns,
                            std::int64_t depth) {
        return pack_pieces_transposed<Of::pieces>(block, to, columns, depth);
    }
    static QKV_INLINE void store_weights(Pair* row, std::int64_t j, Vector<float> weights) {
        store_pieces<Of::pieces>(row, j, weights);
    }
};

// Numbers stay as they are.
template <>
struct Tiled<Bfloat16> : OfTiles<1>, OfPairs {};

}  // namespace qkv::QKV_ISA
