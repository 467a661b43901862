// Each weight by itself: 1 / (1 + exp(-s_j - bias)) (Ramapuram et al. 2024).
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
void sigmoid(Number* row, std::int64_t count, Number bias) {
    // What is hidden, -infinity, stays so beside an infinite bias too.
    if (bias == infinity<Number>) bias = Number(sizeof(Number) == 4 ? __FLT_MAX__ : __DBL_MAX__);
    for (std::int64_t j = 0; j < count; j += lanes<Number>) {
        const Vector<Number> score = load(row + j) + bias;
        // exp of what is at most 0 does not overflow.
        const Vector<Number> power =
            exp2<Number>((score < 0 ? score : -score) * Number(log2_of_e));
        store(row + j, (score < 0 ? power : broadcast(Number(1))) / (1 + power));
    }
}

// `gradients` of weights become those of scores. Returns the gradient of the bias.
template <class Number>
double differentiate_sigmoid(const Number* weights, Number* gradients, std::int64_t count) {
    return sum_over<Number>(count, [&](std::int64_t j) {
        const Vector<Number> weight = load(weights + j);
        const Vector<Number> product = weight * (1 - weight) * load(gradients + j);
        const Vector<Number> gradient = weight == 0 ? Vector<Number>{} : product;
        store(gradients + j, gradient);
        return gradient;
    });
}

}  // namespace qkv::QKV_ISA
