// Weights rule(s_j, t) with t such that they sum to 1: sparsemax and entmax. t is minus the weight of
// the largest score, or a power of it. More scores raise t, so that of a few is a bound from below.
// Scores that get a weight are taken out of the row, and the exact t is found among them.
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

// t of `count` numbers, a multiple of the lanes, of which the largest is 0. It lies in [-1, 0]; the
// search begins at `t`, at or below it.
//
// Newton's method from the left: the sum is convex in t, so t rises to the solution and never passes
// it. Each step divides the product of what the sum is too large by and of its slope by 4 at least.
template <class Number, class Rule>
Number threshold(const Number* values, std::int64_t count, Rule rule, Number t = -1) {
    constexpr int most_steps = 100;
    Number low = -1, high = 0;
    for (int step = 0; step < most_steps; ++step) {
        const auto at_t = rule.at(t);
        Vector<Number> slopes = {};
        const double total = sum_over<Number>(count, [&](std::int64_t j) {
            const Vector<Number> value = load(values + j), weight = at_t.of(value);
            const auto inside = value > at_t.edge;
            slopes += inside ? at_t.slope(value, weight) : Vector<Number>{};
            return inside ? weight : Vector<Number>{};
        });
        (total >= 1 ? low : high) = t;
        const Number next = t + Number(total - 1) / sum<Number>(slopes);
        // Beyond the interval by rounding alone: that is as near as it gets.
        if (!(next > low && next < high)) return larger(low, smaller(next, high));
        if (next == t) return t;
        t = next;
    }
    return t;
}

// Scores become weights of (s_j - largest) * scale.
template <class Number, class Rule>
RowNote weights_above_threshold(Number* row, std::int64_t count, Number scale, Rule rule,
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
    const Number low = threshold(some, panel_width<Number>, rule);
    // Slightly more than can count: rounding must not lose one, nor the largest itself.
    const Number bound = top + (rule.at(low).edge - Number(0.0001)) / scale;
    const std::int64_t found = compress(row, count, bound, candidates);
    const std::int64_t padded = rounded_up(found, lanes<Number>);
    for (std::int64_t i = 0; i < found; ++i) values[i] = (values[i] - top) * scale;
    for (std::int64_t i = found; i < padded; ++i) values[i] = -infinity<Number>;
    const auto found_rule = rule.at(threshold(values, padded, rule, low));
    for (std::int64_t i = 0; i < padded; i += lanes<Number>) {
        const Vector<Number> value = load(values + i);
        store(values + i, value > found_rule.edge ? found_rule.of(value) : Vector<Number>{});
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
