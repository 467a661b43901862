// max(0, (alpha - 1) s_j - tau)^(1 / (alpha - 1)), summing to 1, for alpha > 1 (Peters, Niculae,
// Martins 2019, section 3).
#pragma once

#include "../log.h"
#include "threshold.h"

namespace qkv::QKV_ISA {

// x^exponent of positive numbers, or a very large number where it is larger still. NaN stays NaN.
template <class Number>
QKV_INLINE Vector<Number> power_of(Vector<Number> x, Number exponent) {
    constexpr Number highest = -Exponent<Number>::lowest;
    const Vector<Number> power = log2<Number>(x) * exponent;
    const Vector<Number> found = exp2<Number>(power > highest ? broadcast(highest) : power);
    return x == x ? found : x;
}

template <class Number>
struct Any {
    Number exponent;
    bool is_convex() const { return exponent >= 1; }
    QKV_INLINE Vector<Number> of(Vector<Number> above) const {
        return power_of<Number>(above, exponent);
    }
    QKV_INLINE Vector<Number> slope(Vector<Number> above, Vector<Number> weight) const {
        return weight * exponent / above;
    }
};

template <class Number>
RowNote entmax(Number* row, std::int64_t count, double alpha, Candidates<Number> candidates) {
    return weights_above_threshold(row, count, Number(alpha - 1), Any<Number>{Number(1 / (alpha - 1))},
                                   candidates);
}

// `gradients` of weights become those of scores, as in differentiate_normalised. Returns the gradient
// of alpha (Correia, Niculae, Martins 2019, section 3.1): with rates r_j = w_j^(2 - alpha), normalised
// to sum to 1, and entropies h_j = -w_j log(w_j),
//   d w_j / d alpha = ((w_j - r_j) / (alpha - 1) + h_j - r_j sum_k h_k) / (alpha - 1).
// They sum to 0, so gradients may be taken from their mean on, which loses fewer digits.
template <class Number>
double differentiate_entmax(double alpha, const Number* weights, Number* gradients,
                            std::int64_t count) {
    const auto rate_of = [&](Vector<Number> weight) {
        const Vector<Number> rate = power_of<Number>(weight, Number(2 - alpha));
        return weight == 0 ? Vector<Number>{} : rate;
    };
    const auto entropy_of = [](Vector<Number> weight) {
        const Vector<Number> entropy = weight * log2<Number>(weight) * Number(-log_of_2);
        return weight == 0 ? Vector<Number>{} : entropy;
    };
    Vector<Number> rates = {}, entropies = {};
    const Number products = sum_over<Number>(count, [&](std::int64_t j) {
        const Vector<Number> weight = load(weights + j), rate = rate_of(weight);
        const Vector<Number> product = rate * load(gradients + j);
        rates += rate;
        entropies += entropy_of(weight);
        return weight == 0 ? Vector<Number>{} : product;
    });
    const Number all_rates = sum<Number>(rates), all_entropies = sum<Number>(entropies);
    if (all_rates == 0) {
        fill(gradients, count, Number(0));
        return 0;
    }
    const Number mean = products / all_rates, factor = Number(1 / (alpha - 1));
    const double of_alpha = sum_over<Number>(count, [&](std::int64_t j) {
        const Vector<Number> weight = load(weights + j), rate = rate_of(weight);
        const Vector<Number> share = rate / all_rates, centred = load(gradients + j) - mean;
        const Vector<Number> found =
            centred * ((weight - share) * factor + entropy_of(weight) - share * all_entropies);
        store(gradients + j, weight == 0 ? Vector<Number>{} : rate * centred);
        return weight == 0 ? Vector<Number>{} : found;
    });
    return of_alpha / (alpha - 1);
}

}  // namespace qkv::QKV_ISA
