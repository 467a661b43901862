// Softmax over the k largest scores of a row; of equal scores the first are taken (Gupta et al. 2021).
#pragma once

#include "softmax.h"

namespace qkv::QKV_ISA {

// The k-th largest of `count` numbers, 1 <= k <= count, which change places (Hoare 1961,
// "Algorithm 65: Find").
template <class Number>
Number select(Number* numbers, std::int64_t count, std::int64_t k) {
    std::int64_t first = 0, last = count - 1;
    const std::int64_t wanted = k - 1;
    while (first < last) {
        const Number pivot = numbers[first + (last - first) / 2];
        std::int64_t i = first, j = last;
        while (i <= j) {
            while (numbers[i] > pivot) ++i;
            while (numbers[j] < pivot) --j;
            if (i > j) break;
            const Number other = numbers[i];
            numbers[i++] = numbers[j];
            numbers[j--] = other;
        }
        if (wanted <= j)
            last = j;
        else if (wanted >= i)
            first = i;
        else
            break;
    }
    return numbers[wanted];
}

// A number that at least k of a row reach: the k-th largest of the maxima of disjoint parts, of which
// there are some more than k. -infinity where the row is too short for that.
template <class Number>
Number bound_of_top(const Number* row, std::int64_t count, std::int64_t k, Number* maxima) {
    const std::int64_t parts = rounded_up(2 * k, panel_width<Number>);
    if (2 * parts > count) return -infinity<Number>;
    for (std::int64_t i = 0; i < parts; i += lanes<Number>) {
        Vector<Number> top = load(row + i);
        for (std::int64_t j = i + parts; j < count; j += parts) {
            const Vector<Number> next = load(row + j);
            top = next > top ? next : top;
        }
        store(maxima + i, top);
    }
    return select(maxima, parts, k);
}

// `spare` has room for a row.
template <class Number>
RowNote topk(Number* row, std::int64_t count, std::int64_t k, Candidates<Number> candidates,
             Number* spare) {
    RowNote note;
    const auto [top, nan] = extremes(row, count);
    if (nan) {
        note.support = break_row(row, count, candidates.places);
        note.broken = true;
        return note;
    }
    const Number bound = bound_of_top(row, count, k, spare);
    std::int64_t found = compress(
        row, count,
        [&](Vector<Number> scores) { return (scores >= bound) & (scores > -infinity<Number>); }, candidates);
    Number *values = candidates.values, threshold = -infinity<Number>;
    std::int64_t at_threshold = 0;  // how many that equal it are taken
    if (found > k) {
        for (std::int64_t i = 0; i < found; ++i) spare[i] = values[i];
        threshold = select(spare, found, k);
        at_threshold = k;
        for (std::int64_t i = 0; i < found; ++i) at_threshold -= values[i] > threshold;
    }
    note.support = 0;
    for (std::int64_t i = 0; i < found; ++i) {
        if (!(values[i] > threshold) && !(values[i] == threshold && at_threshold-- > 0)) continue;
        values[note.support] = values[i];
        candidates.places[note.support++] = candidates.places[i];
    }
    const std::int64_t padded = rounded_up(note.support, panel_width<Number>);
    for (std::int64_t i = note.support; i < padded; ++i) values[i] = -infinity<Number>;
    softmax(values, padded, -infinity<double>);
    fill(row, count, Number(0));
    for (std::int64_t i = 0; i < note.support; ++i) row[candidates.places[i]] = values[i];
    return note;
}

}  // namespace qkv::QKV_ISA
