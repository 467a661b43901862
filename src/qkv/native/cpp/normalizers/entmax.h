// max(0, (alpha - 1) s_j - tau)^(1 / (alpha - 1)), summing to 1, for 1 < alpha <= 2 (Peters, Niculae,
// Martins 2019, section 3).
#pragma once

#include "../log.h"
#include "threshold.h"

namespace qkv::QKV_ISA {

// x^exponent of positive numbers. NaN stays NaN.
template <class Number>
QKV_INLINE Vector<Number> power_of(Vector<Number> x, Number exponent) {
    const Vector<Number> found = exp2<Number>(log2<Number>(x) * exponent);
    return x == x ? found : x;
}

// With p = alpha - 1 and the weight b of the largest score as -t: numbers x = p (s_j - largest) get
// b (1 + x / b^p)^(1 / p), which loses no digits as p goes to 0.
template <class Number>
struct Any {
    Number power, exponent;  // p, 1 / p

    struct At {
        QKV_INLINE Vector<Number> of(Vector<Number> value) const {
            return best * exp2<Number>(log2_of_1_and<Number>(value * inverse) * exponent);
        }
        QKV_INLINE Vector<Number> slope(Vector<Number> value, Vector<Number> weight) const {
            return weight / (best * (1 + value * inverse));
        }
        Number best, inverse, edge, exponent;
    };

    At at(Number t) const {
        const double raised = __builtin_pow(double(-t), double(power));
        return {-t, Number(1 / raised), Number(-raised), exponent};
    }
};

template <class Number>
RowNote entmax(Number* row, std::int64_t count, double alpha, Candidates<Number> candidates) {
    const Any<Number> rule = {Number(alpha - 1), Number(1 / (alpha - 1))};
    return weights_above_threshold(row, count, Number(alpha - 1), rule, candidates);
}

// (exp(z) - 1 - z) / z^2 for z >= 0.
template <class Number>
QKV_INLINE Vector<Number> second_remainder(Vector<Number> z) {
    constexpr int terms = sizeof(Number) == 4 ? 10 : 18;
    Vector<Number> series = broadcast(Number(1));
#pragma GCC unroll 18
    for (int k = terms + 2; k >= 3; --k) series = 1 + z * series * Number(1.0 / k);
    const Vector<Number> direct = (exp2<Number>(z * Number(log2_of_e)) - 1 - z) / (z * z);
    return z < 1 ? series * Number(0.5) : direct;
}

// `gradients` of weights become those of scores, as in differentiate_normalised. Returns the gradient
// of alpha (Correia, Niculae, Martins 2019, section 3.1), in a form that stays exact as alpha goes to
// 1. With rates r_j = w_j^(2 - alpha), the largest weight b, l_j = log(w_j / b), z_j = -(alpha - 1) l_j
// and c_j = (exp(z_j) - 1 - z_j) / z_j^2,
//   d w_j / d alpha = -w_j l_j (l_j c_j + log(b) (1 + z_j c_j))
// but for a multiple of r_j, which meets nothing: gradients are taken from their mean by r_j on.
template <class Number>
double differentiate_entmax(double alpha, const Number* weights, Number* gradients,
                            std::int64_t count) {
    const Number rest = Number(2 - alpha), power = Number(alpha - 1);
    Vector<Number> largest_weights = {};
    for (std::int64_t j = 0; j < count; j += lanes<Number>)
        largest_weights = larger(load(weights + j), largest_weights);
    const Number best = log2<Number>(broadcast(largest<Number>(largest_weights)))[0];
    const auto rate_of = [&](Vector<Number> weight) {
        return weight == 0 ? Vector<Number>{} : power_of<Number>(weight, rest);
    };
    const Number mean = weighted_mean(
        count, gradients, [&](std::int64_t j) { return rate_of(load(weights + j)); });
    return sum_over<Number>(count, [&](std::int64_t j) {
        const Vector<Number> weight = load(weights + j), centred = load(gradients + j) - mean;
        const Vector<Number> log = (log2<Number>(weight) - best) * Number(log_of_2), z = -power * log;
        const Vector<Number> rest_of = second_remainder<Number>(z);
        const Vector<Number> of_alpha =
            -weight * log * (log * rest_of + best * Number(log_of_2) * (1 + z * rest_of));
        store(gradients + j, weight == 0 ? Vector<Number>{} : rate_of(weight) * centred);
        return weight == 0 ? Vector<Number>{} : of_alpha * centred;
    });
}

}  // namespace qkv::QKV_ISA
