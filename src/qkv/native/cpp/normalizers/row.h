// What normalizers share: reading a whole row of scores, and finding the few that count.
//
// A row is `count` numbers, a multiple of a panel's width. A hidden cell is -infinity as a score
// and 0 as a weight. Where a score is NaN, so is every weight that could have been one.
#pragma once

#include "../exp.h"
#include "../matmul.h"

namespace qkv::QKV_ISA {

// What is kept of a row beside its weights.
struct RowNote {
    double logsumexp = -infinity<double>;  // of a softmax, without its sink
    double sink = 0;                       // the share of the weight that the sink took
    std::int64_t support = -1;             // how many weights are not 0 if they are listed, or -1
};

template <class Number>
using Mask = decltype(Vector<Number>{} < Vector<Number>{});

template <class Number>
QKV_INLINE bool any(Mask<Number> mask) {
    typedef std::int64_t Words __attribute__((vector_size(QKV_VECTOR_BYTES)));
    const Words words = same_bits<Words>(mask);
    std::int64_t bits = 0;
#pragma GCC unroll 8
    for (int i = 0; i < QKV_VECTOR_BYTES / 8; ++i) bits |= words[i];
    return bits != 0;
}

template <class Number>
struct Extremes {
    Number top;  // the largest number that is one
    bool nan;
};

template <class Number>
QKV_INLINE Extremes<Number> extremes(const Number* row, std::int64_t count) {
    Vector<Number> top[QKV_VECTORS];
    Mask<Number> broken = {};
    for (auto& one : top) one = broadcast(-infinity<Number>);
    for (std::int64_t j = 0; j < count; j += panel_width<Number>)
#pragma GCC unroll 8
        for (int k = 0; k < QKV_VECTORS; ++k) {
            const Vector<Number> next = load(row + j + k * lanes<Number>);
            broken |= next != next;
            top[k] = next > top[k] ? next : top[k];
        }
    for (int k = 1; k < QKV_VECTORS; ++k) top[0] = top[k] > top[0] ? top[k] : top[0];
    return {largest<Number>(top[0]), any<Number>(broken)};
}

// Replaces the numbers of a row one vector at a time and returns the sum of what `of` gives.
template <class Number, class Of>
QKV_INLINE Number sum_over(std::int64_t count, Of of) {
    Vector<Number> even = {}, odd = {};
    std::int64_t j = 0;
    for (; j + 2 * lanes<Number> <= count; j += 2 * lanes<Number>) {
        even += of(j);
        odd += of(j + lanes<Number>);
    }
    for (; j < count; j += lanes<Number>) even += of(j);
    return sum<Number>(even + odd);
}

// Numbers taken out of a row, and where they stood, in their order. Room for one more than a row.
template <class Number>
struct Candidates {
    Number* values;
    std::int32_t* places;
};

// Takes out the numbers of which `wanted` holds; it is asked of vectors and of single numbers.
template <class Number, class Wanted>
std::int64_t compress(const Number* row, std::int64_t count, Wanted wanted,
                      Candidates<Number> to) {
    std::int64_t found = 0;
    for (std::int64_t j = 0; j < count; j += panel_width<Number>) {
        Mask<Number> hits = {};
#pragma GCC unroll 8
        for (int k = 0; k < QKV_VECTORS; ++k) hits |= wanted(load(row + j + k * lanes<Number>));
        if (!any<Number>(hits)) continue;
        for (std::int64_t i = j; i < j + panel_width<Number>; ++i) {
            to.values[found] = row[i];
            to.places[found] = std::int32_t(i);
            found += wanted(row[i]);
        }
    }
    return found;
}

template <class Number>
QKV_INLINE void fill(Number* row, std::int64_t count, Number number) {
    for (std::int64_t j = 0; j < count; j += lanes<Number>) store(row + j, broadcast(number));
}

// Every cell that is not hidden becomes NaN, as where a score is NaN or infinite.
template <class Number>
void break_row(Number* row, std::int64_t count) {
    for (std::int64_t j = 0; j < count; j += lanes<Number>) {
        const Vector<Number> scores = load(row + j);
        store(row + j, scores == -infinity<Number> ? Vector<Number>{}
                                                   : broadcast(Number(__builtin_nan(""))));
    }
}

// gradients = rates * (gradients - mean of the gradients weighted by the rates): the derivative of
// whatever normalises a row to a sum that does not change. A rate of 0 annihilates.
// Returns that mean.
template <class Number, class Rates>
QKV_INLINE Number differentiate_normalised(std::int64_t count, Number* gradients, Rates rates) {
    const Number total = sum_over<Number>(count, rates);
    const Number sum = sum_over<Number>(count, [&](std::int64_t j) {
        const Vector<Number> rate = rates(j), product = rate * load(gradients + j);
        return rate == 0 ? Vector<Number>{} : product;
    });
    const Number mean = total == 0 ? 0 : sum / total;
    for (std::int64_t j = 0; j < count; j += lanes<Number>) {
        const Vector<Number> rate = rates(j), product = rate * (load(gradients + j) - mean);
        store(gradients + j, rate == 0 ? Vector<Number>{} : product);
    }
    return mean;
}

}  // namespace qkv::QKV_ISA
