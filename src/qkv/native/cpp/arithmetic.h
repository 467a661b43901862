// How the fused loops multiply: what queries, keys, values and the cells between them are packed as,
// and by what.
#pragma once

#include "cells.h"
#include "pairs.h"

namespace qkv::QKV_ISA {

// The columns that are computed for these keys, counted from key `first` on.
template <class Arithmetic>
QKV_INLINE Range columns_of(Range keys, std::int64_t first) {
    constexpr std::int64_t from = Arithmetic::columns_begin_at;
    return {(keys.start - first) / from * from,
            rounded_up(keys.stop - first, Arithmetic::columns_at_once)};
}

// Products by sums that are held in registers.
template <class Operand_, int Terms>
struct ByRegisters {
    using Operand = Operand_;
    using Number = Sum<Operand>;
    static constexpr std::int64_t terms = Terms;  // of an operand
    static constexpr int rows = tile_rows;        // that are computed at a time
    static constexpr int rows_weighed = tile_rows;
    static constexpr std::int64_t columns_at_once = lanes<Number>;
    static constexpr std::int64_t columns_begin_at = lanes<Number>;  // multiples of it
    static constexpr bool in_place = true;              // weights lie where their scores lay
    static constexpr bool rows_are_terms = terms == 1;  // packed rows serve as terms of other sums
    static constexpr std::int64_t most_rows = 192;      // of a tile in the backward pass
    struct Session {};  // of a thread

    // Operands of some terms of a sum, whole ones.
    static constexpr std::int64_t operands(std::int64_t count) { return (count + terms - 1) / terms; }

    // `finite`: whether all that was packed is. Sums of what is not are right here all the same.
    static void multiply(bool, Number* c, std::int64_t c_row, Strided<Operand> a,
                         const Operand* panels, std::int64_t depth, Range columns) {
        QKV_ISA::multiply(c, c_row, a, panels, depth, columns);
    }
    static void update(bool finite, Number* c, const Number* factors, Strided<Operand> a,
                       const Operand* b, std::int64_t depth, std::int64_t width) {
        QKV_ISA::update<rows>(finite, c, factors, a, b, depth, width);
    }
    static void add(bool finite, Number* c, Strided<Operand> a, const Operand* b,
                    std::int64_t depth, std::int64_t width) {
        QKV_ISA::add(finite, c, a, b, depth, width);
    }

    // Terms of sums over columns lie where the numbers were, those of `terms` rows in the first.
    static std::int64_t column_operands(std::int64_t, std::int64_t) { return 0; }
    static Strided<Operand> columns(const Operand* of, std::int64_t row, std::int64_t key,
                                    std::int64_t cells_row, std::int64_t) {
        return {of + row * cells_row + key, 1, terms * cells_row};
    }
    // c += a^T b: rows of c are columns of cells, from `key` on, and sums go over the first `rows` of
    // `queries` rows of cells.
    static void add_columns(bool finite, Number* c, const Operand* of, std::int64_t key,
                            std::int64_t keys, std::int64_t cells_row, std::int64_t,
                            const Operand* b, std::int64_t rows, std::int64_t width) {
        add_transposed(finite, c, of + key, terms * cells_row, keys, b, operands(rows), width);
    }
};

// Numbers are widened when they are packed. Scores come out in their unit, for the queries are scaled.
template <class Storage>
struct Widened : ByRegisters<Real<Storage>, 1> {
    using Number = Real<Storage>;
    using Operand = Number;

    // A score's unit is its scale times the base of powers. What queries are multiplied by when they
    // are packed, scores when they are computed, and gradients of keys in the end.
    static double of_queries(double unit) { return unit; }
    static double of_scores(double) { return 1; }
    static double of_key_gradients(double, double base) { return 1 / base; }

    // Rows times a factor: terms of sums over a row. Returns, as the others, whether all is finite.
    static bool pack_rows(Block<Storage> block, double factor, Operand* to, std::int64_t stride,
                          std::int64_t padded_rows) {
        return pack(block, Number(factor), to, stride, padded_rows);
    }
    // Rows as terms of sums over a column.
    static bool pack_terms(Block<Storage> block, Operand* to, std::int64_t stride,
                           std::int64_t padded_rows) {
        return pack(block, Number(1), to, stride, padded_rows);
    }
    // Rows and columns exchanged, in panels of `depth` operands. Returns false if products must be
    // told that something is not finite.
    static bool pack_panels(Block<Storage> block, Operand* to, std::int64_t columns,
                            std::int64_t) {
        pack_transposed(block, to, columns);
        return true;
    }
    // Weights as terms of a sum over their row.
    static QKV_INLINE void store_weights(Operand* row, std::int64_t j, Vector<Number> weights) {
        store(row + j, weights);
    }
    // Some rows of cells, from this one on, become terms.
    static QKV_INLINE void make_terms(const Cells<Operand>&, std::int64_t, std::int64_t,
                                      std::int64_t) {}

    // Where keys and values are read where they lie. Operands of a row from place d on.
    static QKV_INLINE Vector<Operand> operands_at(const Storage* row, std::int64_t d) {
        return widened(row + d);
    }
    // c = factors * c + weights rows, with `depth` rows that lie `row` apart.
    template <bool SkipZeros, int Rows>
    static void add_rows(Number* c, const Number* factors, Strided<Operand> weights,
                         const Storage* rows, std::int64_t row, std::int64_t depth,
                         std::int64_t width) {
        rescale_and_add<SkipZeros, Rows>(c, width, factors, weights, rows, row, depth, width);
    }
    // Puts what was added up so into the order of columns.
    static void order_columns(Number*, std::int64_t) {}
};

// What arithmetics of pairs have in common. Numbers stay bfloat16, two in a word, and weights become
// so. A factor would not be exact in them: scores are brought to their unit, and queries at most change
// their sign.
struct OfPairs {
    static double of_queries(double unit) { return unit < 0 ? -1 : 1; }
    static double of_scores(double unit) { return unit < 0 ? -unit : unit; }
    static double of_key_gradients(double scale, double) { return scale; }

    static bool pack_rows(Block<Bfloat16> block, double factor, Pair* to, std::int64_t stride,
                          std::int64_t padded_rows) {
        return pack_pairs(block, factor < 0, to, stride, padded_rows);
    }
    static bool pack_terms(Block<Bfloat16> block, Pair* to, std::int64_t stride,
                           std::int64_t padded_rows) {
        return pack_pairs_of_rows(block, to, stride, padded_rows);
    }
    static bool pack_panels(Block<Bfloat16> block, Pair* to, std::int64_t columns,
                            std::int64_t depth) {
        pack_pairs_transposed(block, to, columns, depth);
        return true;
    }
    static QKV_INLINE void store_weights(Pair* row, std::int64_t j, Vector<float> weights) {
        store_rounded(row + j / 2, weights);
    }
    static QKV_INLINE Bits operands_at(const Bfloat16* row, std::int64_t d) {
        return widened(reinterpret_cast<const Pair*>(row) + d);
    }
    template <bool SkipZeros, int Rows>
    static void add_rows(float* c, const float* factors, Strided<Pair> weights,
                         const Bfloat16* rows, std::int64_t row, std::int64_t depth,
                         std::int64_t width) {
        const std::int64_t pairs = (depth + 1) / 2;
        std::int64_t column = 0;
        for (; column + 4 * lanes<float> <= width; column += 4 * lanes<float>)
            add_to<SkipZeros>(c + column, width, factors,
                              product<SkipZeros, Rows, 4>(
                                  weights, RowsInPairs{rows + column, row, depth}, pairs));
        for (; column < width; column += 2 * lanes<float>)
            add_to<SkipZeros>(c + column, width, factors,
                              product<SkipZeros, Rows, 2>(
                                  weights, RowsInPairs{rows + column, row, depth}, pairs));
    }
    static void order_columns(float* sums, std::int64_t count) {
        for (std::int64_t j = 0; j < count; j += 2 * lanes<float>) {
            const Vector<float> even = load(sums + j), odd = load(sums + j + lanes<float>);
            store(sums + j, zip_low<float>(even, odd, Lanes<float>{}));
            store(sums + j + lanes<float>, zip_high<float>(even, odd, Lanes<float>{}));
        }
    }
};

// One instruction for the two terms of 16 sums (AVX512_BF16).
struct Paired : ByRegisters<Pair, 2>, OfPairs {
    static QKV_INLINE void make_terms(const Cells<Pair>& cells, std::int64_t first,
                                      std::int64_t count, std::int64_t) {
        static_assert(rows % 2 == 0);
        for (std::int64_t row = first; row < first + rows; row += 2) {
            make_row(cells, row, count);
            make_row(cells, row + 1, count);
            pair_rows(cells.weights + row * cells.row, cells.row, count);
            pair_rows(cells.gradients + row * cells.row, cells.row, count);
        }
    }

   private:
    // The gradients of one row of cells as terms of a sum over it.
    static QKV_INLINE void make_row(const Cells<Pair>& cells, std::int64_t row, std::int64_t count) {
        const float* from = cells.gradients + row * cells.row;
        Pair* to = cells.gradient_rows + row * cells.operands_row;
        for (std::int64_t j = 0; j < count; j += lanes<float>) store_rounded(to + j / 2, load(from + j));
    }
};

}  // namespace qkv::QKV_ISA
