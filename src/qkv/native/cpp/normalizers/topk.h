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

template <class Number>
QKV_INLINE Mask<Number> largest_integers() {
    return ~same_bits<Mask<Number>>(broadcast(Number(-0.0)));
}

// Integers in the order of the numbers, from their bits; and back.
template <class Number>
QKV_INLINE Mask<Number> in_order(Mask<Number> bits) {
    return bits ^ ((bits >> (8 * sizeof(Number) - 1)) & largest_integers<Number>());
}

// A number that at least k of these reach, of which there are whole panels: by halving the range in
// which the k-th largest lies, until k of them or one number is left. They become integers.
template <class Number>
Number reached_by(Number* numbers, std::int64_t count, std::int64_t k) {
    using Order = Integer<Number>;
    Mask<Number> least = in_order<Number>(same_bits<Mask<Number>>(load(numbers))), most = least;
    for (std::int64_t i = 0; i < count; i += lanes<Number>) {
        const Mask<Number> order = in_order<Number>(same_bits<Mask<Number>>(load(numbers + i)));
        store(numbers + i, same_bits<Vector<Number>>(order));
        least = order < least ? order : least;
        most = order > most ? order : most;
    }
    Order low = least[0], high = most[0];
    for (int lane = 1; lane < lanes<Number>; ++lane) {
        low = smaller<Order>(low, least[lane]);
        high = larger<Order>(high, most[lane]);
    }
    while (low < high) {
        const Order middle = (low & high) + ((low ^ high) >> 1) + ((low ^ high) & 1);  // upwards
        std::int64_t reach = 0;
        for (std::int64_t i = 0; i < count; i += lanes<Number>)
            reach += __builtin_popcountll(bits_of<Number>(
                same_bits<Mask<Number>>(load(numbers + i)) >= Mask<Number>{} + middle));
        if (reach >= k)
            low = middle;
        else
            high = middle - 1;
        if (reach == k) break;
    }
    return same_bits<Vector<Number>>(in_order<Number>(Mask<Number>{} + low))[0];
}

// A number that at least k of a row reach: that of the maxima of disjoint parts, of which there are
// some more than k. -infinity where the row is too short for that.
template <class Number>
Number bound_of_top(const Number* row, std::int64_t count, std::int64_t k, Number* maxima) {
    const std::int64_t parts = rounded_up(2 * k, panel_width<Number>);
    if (2 * parts > count) return -infinity<Number>;
    for (std::int64_t i = 0; i < parts; i += panel_width<Number>) {
        Vector<Number> top[QKV_VECTORS];
        for (int v = 0; v < QKV_VECTORS; ++v) top[v] = load(row + i + v * lanes<Number>);
        for (std::int64_t j = i + parts; j < count; j += parts)
#pragma GCC unroll 8
            for (int v = 0; v < QKV_VECTORS; ++v) {
                const Vector<Number> next = load(row + j + v * lanes<Number>);
                top[v] = next > top[v] ? next : top[v];
            }
        for (int v = 0; v < QKV_VECTORS; ++v) store(maxima + i + v * lanes<Number>, top[v]);
    }
    return reached_by(maxima, parts, k);
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
