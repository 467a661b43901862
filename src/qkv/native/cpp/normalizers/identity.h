// The scores themselves, 0 where hidden. A score may be 0 too, and has a gradient then: what is
// hidden is the negative zero, which no score is.
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
void identity(Number* row, std::int64_t count) {
    for (std::int64_t j = 0; j < count; j += lanes<Number>) {
        const Vector<Number> score = load(row + j);
        // Adding 0 makes a negative zero positive.
        store(row + j, score == -infinity<Number> ? broadcast(Number(-0.0)) : score + Number(0));
    }
}

template <class Number>
QKV_INLINE Mask<Number> is_hidden_identity(Vector<Number> weights) {
    const Vector<Number> hidden = -Vector<Number>{};
    return same_bits<Mask<Number>>(weights) == same_bits<Mask<Number>>(hidden);
}

// `gradients` of weights become those of scores.
template <class Number>
void differentiate_identity(const Number* weights, Number* gradients, std::int64_t count) {
    for (std::int64_t j = 0; j < count; j += lanes<Number>) {
        const Vector<Number> gradient = load(gradients + j);
        store(gradients + j, is_hidden_identity<Number>(load(weights + j)) ? Vector<Number>{} : gradient);
    }
}

}  // namespace qkv::QKV_ISA
