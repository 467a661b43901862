// max(0, s_j - tau), summing to 1 (Martins, Astudillo 2016).
#pragma once

#include "threshold.h"

namespace qkv::QKV_ISA {

// A rule at its t: which numbers have weights (those above `edge`), the weights, and by how much they
// fall as t rises.
template <class Number>
struct First {
    static First at(Number t) { return {t}; }
    QKV_INLINE Vector<Number> of(Vector<Number> value) const { return value - edge; }
    QKV_INLINE Vector<Number> slope(Vector<Number>, Vector<Number>) const {
        return broadcast(Number(1));
    }
    Number edge;
};

template <class Number>
RowNote sparsemax(Number* row, std::int64_t count, Candidates<Number> candidates) {
    return weights_above_threshold(row, count, Number(1), First<Number>{}, candidates);
}

// The mean over the support goes, which keeps the sum (section 2.5).
template <class Number>
void differentiate_sparsemax(const Number* weights, Number* gradients, std::int64_t count) {
    differentiate_normalised(count, gradients, [&](std::int64_t j) {
        const Vector<Number> weight = load(weights + j);
        return weight == 0 ? Vector<Number>{} : 1 + (weight - weight);  // NaN stays NaN
    });
}

}  // namespace qkv::QKV_ISA
