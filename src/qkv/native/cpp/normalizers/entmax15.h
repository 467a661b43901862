// max(0, s_j / 2 - tau)^2, summing to 1 (Peters, Niculae, Martins 2019, section 4).
#pragma once

#include "threshold.h"

namespace qkv::QKV_ISA {

template <class Number>
struct Second {
    static Second at(Number t) { return {t}; }
    QKV_INLINE Vector<Number> of(Vector<Number> value) const {
        return (value - edge) * (value - edge);
    }
    QKV_INLINE Vector<Number> slope(Vector<Number> value, Vector<Number>) const {
        return 2 * (value - edge);
    }
    Number edge;
};

template <class Number>
RowNote entmax15(Number* row, std::int64_t count, Candidates<Number> candidates) {
    return weights_above_threshold(row, count, Number(0.5), Second<Number>{}, candidates);
}

QKV_INLINE float root_of(float x) { return __builtin_sqrtf(x); }
QKV_INLINE double root_of(double x) { return __builtin_sqrt(x); }

template <class Number>
void differentiate_entmax15(const Number* weights, Number* gradients, std::int64_t count) {
    differentiate_normalised(count, gradients, [&](std::int64_t j) {
        Vector<Number> roots;
        for (int lane = 0; lane < lanes<Number>; ++lane) roots[lane] = root_of(weights[j + lane]);
        return roots;
    });
}

}  // namespace qkv::QKV_ISA
