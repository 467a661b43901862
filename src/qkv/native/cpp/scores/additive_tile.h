// The additive score of a query and a key, sum_d weight_d tanh(query_d + key_d), and its derivative
// (Bahdanau, Cho, Bengio 2015, appendix A.1.2).
//
//   tanh(a + b) = 1 - 2 r,  r = 1 / (1 + e^2a e^2b),  tanh' = 4 r (1 - r)
//
// The powers e^2a and e^2b belong to a query and a key: they are computed once each, and what is
// left for a pair of them is a division. Two terms share one, 1/x + 1/y = (x + y) / (x y), which is
// why the powers must not be too large. Where they are, and where something is not finite, each
// term of that query and that key gets an exponential of its own; other cells know nothing of it.
#pragma once

#include "../exp.h"
#include "../matmul.h"
#include "../visible.h"

namespace qkv::QKV_ISA {

// The largest |a| + |b| at which (1 + e^2a e^2b)^2 and the powers themselves are finite.
template <class Number>
constexpr Number additive_reach = sizeof(Number) == 4 ? Number(21) : Number(176);

// log(2) / 2 in two parts; multiples of the first are exact within the reach.
template <class Number>
constexpr Number half_log_of_2 = sizeof(Number) == 4 ? Number(22712.0 / 65536) : Number(float(log_of_2 / 2));
template <class Number>
constexpr Number half_log_of_2_rest = Number(0.5 * log_of_2 - double(half_log_of_2<Number>));
// More digits than a difference of two doubles has: they count up to 508 times.
template <>
constexpr double half_log_of_2_rest<double> = -9.52327149978884e-10;

// e^2x for |x| <= additive_reach, by about one unit in the last place: errors of the powers become
// errors of the scores. With x = n log(2) / 2 + f it is 2^n e^2f.
template <class Number>
QKV_INLINE Vector<Number> power_of_twice(Vector<Number> x) {
    using Power = Exponent<Number>;
    typedef Integer<Number> Integers __attribute__((vector_size(QKV_VECTOR_BYTES)));
    const Vector<Number> rounded = x * Number(2 * log2_of_e) + Power::rounder;
    const Vector<Number> n = rounded - Power::rounder;
    const Vector<Number> f = x - n * half_log_of_2<Number> - n * half_log_of_2_rest<Number>;
    constexpr int degree = sizeof(Number) == 4 ? 7 : 13;  // Taylor: the next term is below 1e-8, 4e-18
    Vector<Number> series = {};
#pragma GCC unroll 16
    for (int k = degree; k > 0; --k) series = (series + 1) * f * Number(2.0 / k);
    Integers bits;
    __builtin_memcpy(&bits, &rounded, sizeof bits);
    bits <<= Power::fraction_bits;
    Vector<Number> power;
    __builtin_memcpy(&power, &bits, sizeof power);
    return power + power * series;
}

// |x|, infinity where x is NaN.
template <class Number>
QKV_INLINE Vector<Number> size_of(Vector<Number> x) {
    const Vector<Number> size = x < 0 ? -x : x;
    return x == x ? size : broadcast(infinity<Number>);
}

// Turns numbers x of a row, `count` of them, a multiple of the lanes, into e^2x. Returns the largest
// |x|. Beyond additive_reach the powers are arbitrary.
template <class Number>
Number to_powers(Number* row, std::int64_t count) {
    Vector<Number> reach = {};
    for (std::int64_t i = 0; i < count; i += lanes<Number>) {
        const Vector<Number> x = load(row + i), size = size_of<Number>(x);
        reach = size > reach ? size : reach;
        store(row + i, power_of_twice<Number>(x));
    }
    return largest<Number>(reach);
}

// The same for a panel of keys: `reach` gets a number for each of them.
template <class Number>
void panel_to_powers(Number* panel, std::int64_t width, Number* reach) {
    constexpr std::int64_t step = panel_width<Number>;
    for (std::int64_t column = 0; column < step; column += lanes<Number>) {
        Vector<Number> top = {};
        for (std::int64_t d = 0; d < width; ++d) {
            Number* at = panel + d * step + column;
            const Vector<Number> x = load(at), size = size_of<Number>(x);
            top = size > top ? size : top;
            store(at, power_of_twice<Number>(x));
        }
        store(reach + column, top);
    }
}

// The weight of a score in the form that costs least: weight_d = largest / inverse_d. A term
// r / inverse_d is 1 / (inverse_d + inverse_d e^2a e^2b), where the first power comes multiplied
// already.
template <class Number>
struct AdditiveWeight {
    static constexpr std::int64_t at_a_time = 16;  // terms that are summed

    // Weights that are smaller relative to the largest count as this: their inverse must be finite.
    static constexpr Number least = sizeof(Number) == 4 ? Number(0x1p-30) : Number(0x1p-60);

    AdditiveWeight() = default;

    // `inverses` and `totals`: memory for `width` numbers each.
    AdditiveWeight(const Number* weight, std::int64_t width, Number* inverses, Number* totals)
        : inverse(inverses), total(totals) {
        Number probe = 0;  // 0 * x is NaN where x is not finite
        for (std::int64_t d = 0; d < width; ++d) {
            largest = larger(Number(__builtin_fabs(weight[d])), largest);
            probe += weight[d] * 0;
        }
        for (std::int64_t d = 0; d < width; ++d) {
            const Number share = largest == 0 ? Number(1) : weight[d] / largest;
            const bool small = __builtin_fabs(share) < least;
            inverses[d] = 1 / (small ? __builtin_copysign(least, share) : share);
        }
        for (std::int64_t d = 0; d < width; d += at_a_time) {
            double sum = 0;
            for (std::int64_t i = d; i < smaller(d + at_a_time, width); ++i) sum += 1.0 / inverses[i];
            totals[d / at_a_time] = Number(sum);
        }
        // Two inverses are multiplied with each other, too.
        for (std::int64_t d = 0; d + 1 < width; d += 2) {
            const Number bits = __builtin_log2(__builtin_fabs(double(inverses[d]) * inverses[d + 1]));
            reach = smaller(Number(additive_reach<Number> - bits * Number(log_of_2 / 4)), reach);
        }
        if (probe != 0) reach = -1;
    }

    const Number* inverse = nullptr;
    const Number* total = nullptr;  // of the terms at a time, where r is 1
    Number largest = 0;
    Number reach = additive_reach<Number>;  // of |a| + |b| here
};

// sum_d r / inverse_d over some d, for a register tile's rows against one panel of keys.
template <class Number>
QKV_INLINE void sum_of_shares(Vector<Number> (&sums)[tile_rows][QKV_VECTORS],
                                const Number* queries, std::int64_t row, const Number* panel,
                                const AdditiveWeight<Number>& weight, Range terms) {
    std::int64_t d = terms.start;
    panel += d * panel_width<Number>;
#pragma GCC unroll 1
    for (; d + 2 <= terms.stop; d += 2, panel += 2 * panel_width<Number>) {
        const Vector<Number> first = broadcast(weight.inverse[d]);
        const Vector<Number> second = broadcast(weight.inverse[d + 1]);
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 8
            for (int j = 0; j < QKV_VECTORS; ++j) {
                const Number* key = panel + j * lanes<Number>;
                const Vector<Number> x = load(key) * queries[i * row + d] + first;
                const Vector<Number> y =
                    load(key + panel_width<Number>) * queries[i * row + d + 1] + second;
                sums[i][j] += (x + y) / (x * y);
            }
    }
    if (d == terms.stop) return;
#pragma GCC unroll 8
    for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < QKV_VECTORS; ++j)
            sums[i][j] += 1 / (load(panel + j * lanes<Number>) * queries[i * row + d] +
                               weight.inverse[d]);
}

// Scores of a register tile's rows against one panel of keys. `queries`: powers times the inverses,
// rows `row` apart; `panel`: powers, as pack_transposed lays them out.
//
// A score is the sum of weight_d (1 - 2 r) over some d at a time, so that the sums stay about as
// small as the scores are.
template <class Number>
__attribute__((noinline)) void additive_scores(Number* scores, std::int64_t scores_row,
                                               const Number* queries, std::int64_t row,
                                               const Number* panel,
                                               const AdditiveWeight<Number>& weight,
                                               std::int64_t width) {
    constexpr std::int64_t at_a_time = AdditiveWeight<Number>::at_a_time;
    for (std::int64_t d = 0; d < width; d += at_a_time) {
        Vector<Number> sums[tile_rows][QKV_VECTORS] = {};
        sum_of_shares(sums, queries, row, panel, weight, {d, smaller(d + at_a_time, width)});
        const Number total = weight.total[d / at_a_time];
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 8
            for (int j = 0; j < QKV_VECTORS; ++j) {
                Number* to = scores + i * scores_row + j * lanes<Number>;
                const Vector<Number> before = d == 0 ? Vector<Number>{} : load(to);
                store(to, before + (total - sums[i][j] * 2) * weight.largest);
            }
    }
}

// 1 / (1 + e^2x) of any x.
template <class Number>
QKV_INLINE Vector<Number> share(Vector<Number> x) {
    // There tanh is 1 to the last place; NaN stays.
    constexpr Number far = sizeof(Number) == 4 ? Number(12) : Number(24);
    x = far < x ? broadcast(far) : x;
    x = -far > x ? broadcast(-far) : x;
    return 1 / (1 + power_of_twice<Number>(x));
}

// Scores of the cells that are beyond `reach`, from the queries and keys themselves; the others stay
// as they are. `query_reach` and `key_reach`: the largest |number| of each.
template <class Number>
__attribute__((noinline)) void additive_scores_beyond(Number reach, Number* scores,
                                                      std::int64_t scores_row,
                                                      const Number* queries, std::int64_t row,
                                                      const Number* panel, const Number* weight,
                                                      std::int64_t width, const Number* query_reach,
                                                      const Number* key_reach) {
    constexpr std::int64_t step = panel_width<Number>;
    for (std::int64_t column = 0; column < step; column += lanes<Number>)
        for (int i = 0; i < tile_rows; ++i) {
            Vector<Number> sum = {};
            for (std::int64_t d = 0; d < width; ++d) {
                const Vector<Number> x = load(panel + d * step + column) + queries[i * row + d];
                sum += weight[d] * (share<Number>(x) - Number(0.5));
            }
            const Vector<Number> of_cells = load(key_reach + column) + query_reach[i];
            Number* to = scores + i * scores_row + column;
            store(to, of_cells <= reach ? load(to) : sum * Number(-2));
        }
}

}  // namespace qkv::QKV_ISA
