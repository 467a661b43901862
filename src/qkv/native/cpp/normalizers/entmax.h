// max(0, (alpha - 1) s_j - tau)^(1 / (alpha - 1)), summing to 1, for alpha > 1 (Peters, Niculae,
// Martins 2019, section 3).
#pragma once

#include "../log.h"
#include "threshold.h"

namespace qkv::QKV_ISA {

// x^exponent of positive numbers, or a very large number where it is larger still.
template <class Number>
QKV_INLINE Vector<Number> power_of(Vector<Number> x, Number exponent) {
    constexpr Number highest = -Exponent<Number>::lowest;
    const Vector<Number> power = log2<Number>(x) * exponent;
    return exp2<Number>(power > highest ? broadcast(highest) : power);
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

// `gradients` of weights become those of scores. Returns the gradient of alpha (Correia, Niculae,
// Martins 2019, section 3.1): with rates r_j = w_j^(2 - alpha), normalised to sum to 1, and entropies
// h_j = -w_j log(w_j),
//   d w_j / d alpha = (w_j - r_j) / (alpha - 1)^2 + (h_j - r_j sum_k h_k) / (alpha - 1).
template <class Number>
double differentiate_entmax(double alpha, const Number* weights, Number* gradients,
                            std::int64_t count) {
    const auto rate = [&](std::int64_t j) {
        const Vector<Number> weight = load(weights + j);
        return weight > 0 ? power_of<Number>(weight, Number(2 - alpha)) : Vector<Number>{};
    };
    const auto entropy = [&](std::int64_t j) {
        const Vector<Number> weight = load(weights + j);
        const Vector<Number> found = weight * log2<Number>(weight) * Number(-log_of_2);
        return weight > 0 ? found : Vector<Number>{};
    };
    const auto beside_gradients = [&](auto of) {
        return double(sum_over<Number>(count, [&](std::int64_t j) {
            const Vector<Number> number = of(j), product = number * load(gradients + j);
            return number == 0 ? Vector<Number>{} : product;
        }));
    };
    const double of_weights = beside_gradients([&](std::int64_t j) { return load(weights + j); });
    const double of_entropies = beside_gradients(entropy);
    const double entropies = sum_over<Number>(count, entropy);
    const double mean = differentiate_normalised(count, gradients, rate);
    return (of_weights - mean) / ((alpha - 1) * (alpha - 1)) +
           (of_entropies - mean * entropies) / (alpha - 1);
}

}  // namespace qkv::QKV_ISA
