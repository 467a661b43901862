// Rows of a strip, and the keys of a task, in the forms in which they are multiplied.
#pragma once

#include "arithmetic.h"
#include "strip_sizes.h"

namespace qkv::QKV_ISA {

template <class Storage, class Arithmetic>
class StripRows {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;

    // Rows of so many numbers. `as_terms`: also as terms of sums over the rows; `as_numbers`: also
    // as numbers, for rows that are taken one by one. Where one form serves for all it is kept once.
    StripRows(const StripSizes<Number>& sizes, std::int64_t width, bool as_terms, bool as_numbers,
              Pieces<Number>& pieces)
        : row(rounded_up(Arithmetic::operands(width), lanes<Number>)),
          width_(rounded_up(width, lanes<Number>)) {
        operands = pieces.template take_for<Operand>(sizes.rows * row);
        if constexpr (Arithmetic::rows_are_terms) {
            terms = numbers = operands;
            return;
        }
        if (as_terms)
            terms = pieces.template take_for<Operand>(Arithmetic::operands(sizes.rows) * width_);
        if (as_numbers) numbers = pieces.take(sizes.rows * width_);
    }
    StripRows() = default;

    // The block, `operands` times a factor; rows up to a whole step are 0.
    void take(Block<Storage> block, double factor) {
        const std::int64_t padded = rounded_up(block.rows, Arithmetic::rows);
        finite = Arithmetic::pack_rows(block, factor, operands, row, padded);
        if constexpr (Arithmetic::rows_are_terms) return;
        if (terms) Arithmetic::pack_terms(block, terms, width_, padded);
        if (numbers) pack(block, Number(1), numbers, width_, padded);
    }

    Strided<Operand> from(std::int64_t i) const { return {operands + i * row, row, 1}; }

    Operand *operands = nullptr, *terms = nullptr;
    Number* numbers = nullptr;
    bool finite = true;
    std::int64_t row = 0;  // of operands

   private:
    std::int64_t width_ = 0;
};

// Keys or values of a task, each in its place, as terms of sums over keys.
template <class Storage, class Arithmetic>
class KeyTerms {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;

    // Of `width` numbers, whole vectors. `as_numbers`: also as numbers, for lists of a few.
    KeyTerms(const StripSizes<Number>& sizes, std::int64_t width, bool as_numbers,
             Pieces<Number>& pieces)
        : width_(width) {
        terms_ = pieces.template take_for<Operand>(Arithmetic::operands(sizes.keys) * width);
        if constexpr (Arithmetic::rows_are_terms)
            numbers = terms_;
        else if (as_numbers)
            numbers = pieces.take(sizes.keys * width);
    }
    KeyTerms() = default;

    // The block of these keys, whole panels.
    void take(Block<Storage> block, Range keys) {
        finite &= Arithmetic::pack_terms(block, terms_ + Arithmetic::operands(keys.start) * width_,
                                         width_, keys.size());
        if constexpr (Arithmetic::rows_are_terms) return;
        if (numbers) pack(block, Number(1), numbers + keys.start * width_, width_, keys.size());
    }

    const Operand* from(std::int64_t key) const {
        return terms_ + Arithmetic::operands(key) * width_;
    }

    Number* numbers = nullptr;
    bool finite = true;  // whether all that was taken is

   private:
    Operand* terms_ = nullptr;
    std::int64_t width_ = 0;
};

}  // namespace qkv::QKV_ISA
