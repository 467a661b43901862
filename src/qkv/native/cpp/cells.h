// Cells of a tile or a strip in the backward pass: weights, and gradients of scores.
#pragma once

#include "matmul.h"
#include "threads.h"

namespace qkv::QKV_ISA {

// Rows lie `row` numbers apart. Once cells are terms, those of sums over a row of them are
// `gradient_rows`, which lie `operands_row` operands apart, those of sums over a column
// `weight_columns` and `gradient_columns`.
template <class Operand>
struct Cells {
    Sum<Operand>*weights, *gradients;
    std::int64_t row, operands_row;
    Operand *gradient_rows, *weight_columns, *gradient_columns;
};

// Room beside the weights for so many rows and columns. Terms lie where their numbers were, unless an
// arithmetic wants them elsewhere.
template <class Arithmetic, class Number = typename Arithmetic::Number>
Cells<typename Arithmetic::Operand> cells_beside(Number* weights, std::int64_t rows,
                                                 std::int64_t columns, std::int64_t row,
                                                 Pieces<Number>& pieces) {
    using Operand = typename Arithmetic::Operand;
    Cells<Operand> cells;
    cells.weights = weights;
    cells.gradients = pieces.take(rows * row);
    cells.row = row;
    cells.operands_row = Arithmetic::operands(row);
    cells.weight_columns = reinterpret_cast<Operand*>(cells.weights);
    cells.gradient_rows = cells.gradient_columns = reinterpret_cast<Operand*>(cells.gradients);
    if constexpr (Arithmetic::rows_are_terms) return cells;
    cells.gradient_rows = pieces.template take_for<Operand>(rows * cells.operands_row);
    const std::int64_t operands = Arithmetic::column_operands(rows, columns);
    if (operands == 0) return cells;
    cells.weight_columns = pieces.template take_for<Operand>(operands);
    cells.gradient_columns = pieces.template take_for<Operand>(operands);
    return cells;
}

}  // namespace qkv::QKV_ISA
