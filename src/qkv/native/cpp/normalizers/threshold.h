// Weights power(s_j - tau) with tau such that they sum to 1: sparsemax and entmax. More scores raise
// tau, so that of a few is a bound from below. Scores above it are taken out of the row, and the exact
// tau is found among them.
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

// tau of `count` numbers, a multiple of the lanes, of which the largest is 0. It lies in [-1, 0]; the
// search begins at `tau`, at or below it.
//
// Newton's method from the left, where the sum is convex in tau (exponents from 1 on): it rises to
// the solution, never passes it, and for exponent 1 ends after finitely many steps. For smaller
// exponents it is kept within an interval that has the solution.
template <class Number, class Power>
Number threshold(const Number* values, std::int64_t count, Power power, Number tau = -1) {
    constexpr int most_steps = 100;
    Number low = -1, high = 0;
    for (int step = 0; step < most_steps; ++step) {
        Vector<Number> slopes = {};
        const Number total = sum_over<Number>(count, [&](std::int64_t j) {
            const Vector<Number> above = load(values + j) - tau;
            const Vector<Number> weight = above > 0 ? power.of(above) : Vector<Number>{};
            slopes += above > 0 ? power.slope(above, weight) : Vector<Number>{};
            return weight;
        });
        (total >= 1 ? low : high) = tau;
        Number next = tau + (total - 1) / sum<Number>(slopes);
        if (!(next > low && next < high)) {
            // Beyond the interval by rounding alone: that is as near as it gets.
            if (power.is_convex()) return larger(low, smaller(next, high));
            next = low + (high - low) / 2;
            if (!(next > low && next < high)) return low;
        }
        if (next == tau) return tau;
        tau = next;
    }
    return tau;
}

// Scores become weights power((s_j - largest) * scale - tau).
template <class Number, class Power>
RowNote weights_above_threshold(Number* row, std::int64_t count, Number scale, Power power,
                                Candidates<Number> candidates) {
    RowNote note;
    Number *values = candidates.values, some[panel_width<Number>];
    const auto [top, nan] = extremes(row, count, some);
    if (nan || top == infinity<Number>) {
        note.support = break_row(row, count, candidates.places);
        note.broken = true;
        return note;
    }
    note.support = 0;
    if (top == -infinity<Number>) {
        fill(row, count, Number(0));
        return note;
    }
    for (Number& one : some) one = (one - top) * scale;
    const Number low = threshold(some, panel_width<Number>, power);
    // Slightly more than can count: rounding must not lose one, nor the largest itself.
    const Number bound = top + (low - Number(0.0001)) / scale;
    const std::int64_t found =
        compress(row, count, [&](Vector<Number> scores) { return scores >= bound; }, candidates);
    const std::int64_t padded = rounded_up(found, lanes<Number>);
    for (std::int64_t i = 0; i < found; ++i) values[i] = (values[i] - top) * scale;
    for (std::int64_t i = found; i < padded; ++i) values[i] = -infinity<Number>;
    const Number tau = threshold(values, padded, power, low);
    for (std::int64_t i = 0; i < padded; i += lanes<Number>) {
        const Vector<Number> above = load(values + i) - tau;
        store(values + i, above > 0 ? power.of(above) : Vector<Number>{});
    }
    fill(row, count, Number(0));
    for (std::int64_t i = 0; i < found; ++i) {
        if (values[i] == 0) continue;
        const std::int32_t place = candidates.places[i];
        row[place] = values[i];
        candidates.places[note.support++] = place;
    }
    return note;
}

}  // namespace qkv::QKV_ISA
