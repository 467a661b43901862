// One pass over a row of numbers for all that is taken of it: the pass costs more than most of what
// is done with a number.
#pragma once

#include "long_sums.h"

namespace qkv::QKV_ISA {

// Shows a row, whole panels, to takers: each takes the k-th vector of the panel from j on by
// take(numbers, j, k), and ends sums that must not get longer by end_stretch().
template <class Number, class... Takers>
QKV_INLINE void pass_over(const Number* row, std::int64_t count, Takers&... takers) {
    static_assert(stretch<Number> % panel_width<Number> == 0);
    // Copies are known to nobody else: their sums stay in registers.
    const auto pass = [&](Takers... copies) {
        for (std::int64_t start = 0; start < count; start += stretch<Number>) {
            const std::int64_t stop = smaller(start + stretch<Number>, count);
            for (std::int64_t j = start; j < stop; j += panel_width<Number>)
#pragma GCC unroll 8
                for (int k = 0; k < QKV_VECTORS; ++k) {
                    const Vector<Number> numbers = load(row + j + k * lanes<Number>);
                    (copies.take(numbers, j, k), ...);
                }
            (copies.end_stretch(), ...);
        }
        ((takers = copies), ...);
    };
    pass(takers...);
}

}  // namespace qkv::QKV_ISA
