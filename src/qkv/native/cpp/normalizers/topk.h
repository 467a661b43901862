// Softmax over the k largest scores of a row; of equal scores the first are taken (Gupta et al. 2021).
#pragma once

#include "largest.h"
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

// `spare` has room for a row.
template <class Number>
RowNote topk(Number* row, std::int64_t count, std::int64_t k, Candidates<Number> candidates,
             Number* spare) {
    RowNote note;
    const auto largest = Largest<Number>::of(row, count, spare);
    if (largest.nan) {
        note.support = break_row(row, count, candidates.places);
        note.broken = true;
        return note;
    }
    // What is hidden is out of reach.
    const std::int64_t found =
        largest.compress(larger(largest.reached_by(k), -largest_finite<Number>), candidates);
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
