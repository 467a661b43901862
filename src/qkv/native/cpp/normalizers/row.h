// What normalizers share: reading a whole row of scores, and finding the few that count.
//
// A row is `count` numbers, a multiple of a panel's width. A hidden cell is -infinity as a score
// and 0 as a weight. Where a score is NaN, so is every weight that could have been one.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "../exp.h"
#include "../long_sums.h"

namespace qkv::QKV_ISA {

// What is kept of a row beside its weights.
struct RowNote {
    double logsumexp = -infinity<double>;  // of a softmax, without its sink
    double sink = 0;                       // the share of the weight that the sink took
    double entropy = 0;                    // of a softmax, in nats
    std::int64_t support = -1;  // how many weights are not 0 where the normalizer lists them, or -1
    bool broken = false;        // whether all of these are NaN
};

template <class Number>
using Mask = decltype(Vector<Number>{} < Vector<Number>{});

// A bit for each lane of a mask.
template <class Number>
QKV_INLINE std::uint64_t bits_of(Mask<Number> mask) {
#if defined(__AVX512DQ__)
    if constexpr (sizeof(Number) == 4) return _mm512_movepi32_mask(same_bits<__m512i>(mask));
    return _mm512_movepi64_mask(same_bits<__m512i>(mask));
#elif defined(__AVX2__)
    if constexpr (sizeof(Number) == 4) return _mm256_movemask_ps(same_bits<__m256>(mask));
    return _mm256_movemask_pd(same_bits<__m256d>(mask));
#elif defined(__SSE2__)
    if constexpr (sizeof(Number) == 4) return _mm_movemask_ps(same_bits<__m128>(mask));
    return _mm_movemask_pd(same_bits<__m128d>(mask));
#else
    std::uint64_t bits = 0;
    for (int lane = 0; lane < lanes<Number>; ++lane) bits |= std::uint64_t(mask[lane] & 1) << lane;
    return bits;
#endif
}

// A bit for each number that is not below a bound, as NaN never is.
template <class Number>
QKV_INLINE std::uint64_t bits_reaching(Vector<Number> numbers, Number bound) {
#if defined(__AVX512F__)  // where compilers take the detour through a vector
    if constexpr (sizeof(Number) == 4)
        return _mm512_cmp_ps_mask(same_bits<__m512>(numbers), _mm512_set1_ps(bound), _CMP_NLT_UQ);
    else
        return _mm512_cmp_pd_mask(same_bits<__m512d>(numbers), _mm512_set1_pd(bound), _CMP_NLT_UQ);
#else
    return bits_of<Number>(~(numbers < bound));
#endif
}

template <class Number>
struct Extremes {
    Number top;  // the largest number that is one
    bool nan;
};

// Where wanted, `maxima` takes the largest of each column of the row's panels.
template <class Number>
QKV_INLINE Extremes<Number> extremes(const Number* row, std::int64_t count,
                                     Number* maxima = nullptr) {
    Vector<Number> top[QKV_VECTORS];
    Mask<Number> broken = {};
    for (auto& one : top) one = broadcast(-infinity<Number>);
    for (std::int64_t j = 0; j < count; j += panel_width<Number>)
#pragma GCC unroll 8
        for (int k = 0; k < QKV_VECTORS; ++k) {
            const Vector<Number> next = load(row + j + k * lanes<Number>);
            broken |= next != next;
            top[k] = larger(next, top[k]);
        }
    if (maxima)
        for (int k = 0; k < QKV_VECTORS; ++k) store(maxima + k * lanes<Number>, top[k]);
    for (int k = 1; k < QKV_VECTORS; ++k) top[0] = larger(top[k], top[0]);
    return {largest<Number>(top[0]), bits_of<Number>(broken) != 0};
}

// Numbers taken out of a row, and where they stood, in their order.
template <class Number>
struct Candidates {
    Number* values;
    std::int32_t* places;
};

// Takes out the numbers of a panel that reach a bound, behind the `found` that are there.
template <class Number>
QKV_INLINE void compress_panel(const Number* row, std::int64_t panel, Number bound,
                               Candidates<Number> to, std::int64_t& found) {
    std::uint64_t hits = 0;
#pragma GCC unroll 8
    for (int k = 0; k < QKV_VECTORS; ++k)
        hits |= bits_reaching(load(row + panel + k * lanes<Number>), bound) << k * lanes<Number>;
    for (; hits; hits &= hits - 1) {
        const std::int64_t i = panel + __builtin_ctzll(hits);
        to.values[found] = row[i];
        to.places[found++] = std::int32_t(i);
    }
}

// Takes out the numbers that reach a bound.
template <class Number>
std::int64_t compress(const Number* row, std::int64_t count, Number bound, Candidates<Number> to) {
    std::int64_t found = 0;
    for (std::int64_t j = 0; j < count; j += panel_width<Number>)
        compress_panel(row, j, bound, to, found);
    return found;
}

template <class Number>
QKV_INLINE void fill(Number* row, std::int64_t count, Number number) {
    for (std::int64_t j = 0; j < count; j += lanes<Number>) store(row + j, broadcast(number));
}

// Every cell that is not hidden becomes NaN, as where a score is NaN or infinite. All of them are
// listed; returns how many.
template <class Number>
std::int64_t break_row(Number* row, std::int64_t count, std::int32_t* places) {
    std::int64_t found = 0;
    for (std::int64_t j = 0; j < count; ++j) {
        const bool hidden = row[j] == -infinity<Number>;
        row[j] = hidden ? Number(0) : Number(__builtin_nan(""));
        places[found] = std::int32_t(j);
        found += !hidden;
    }
    return found;
}

// The mean of the gradients weighted by the rates. A rate of 0 annihilates.
template <class Number, class Rates>
QKV_INLINE Number weighted_mean(std::int64_t count, const Number* gradients, Rates rates) {
    const double total = sum_over<Number>(count, rates);
    const double sum = sum_over<Number>(count, [&](std::int64_t j) {
        const Vector<Number> rate = rates(j), product = rate * load(gradients + j);
        return rate == 0 ? Vector<Number>{} : product;
    });
    return total == 0 ? 0 : Number(sum / total);
}

// gradients = rates * (gradients - their weighted mean): the derivative of whatever normalises a row to
// a sum that does not change.
template <class Number, class Rates>
QKV_INLINE void differentiate_normalised(std::int64_t count, Number* gradients, Rates rates) {
    const Number mean = weighted_mean(count, gradients, rates);
    for (std::int64_t j = 0; j < count; j += lanes<Number>) {
        const Vector<Number> rate = rates(j), product = rate * (load(gradients + j) - mean);
        store(gradients + j, rate == 0 ? Vector<Number>{} : product);
    }
}

}  // namespace qkv::QKV_ISA
