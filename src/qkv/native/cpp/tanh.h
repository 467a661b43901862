// The hyperbolic tangent with its derivative, accurate in every digit that matters near 0 as well.
#pragma once

#include "exp.h"

namespace qkv::QKV_ISA {

template <class Real>
struct PowerMinusOne;

template <>
struct PowerMinusOne<float> {
    // (2^f - 1) / f for |f| <= 1/2 by least relative error (1e-8).
    static constexpr float coefficients[] = {6.931471879e-01f, 2.402264979e-01f, 5.550357433e-02f,
                                             9.618237498e-03f, 1.339073574e-03f, 1.540351187e-04f};
    static constexpr float furthest = 40;  // 2^-40 beside 1 is nothing
};

template <>
struct PowerMinusOne<double> {
    // As those of exp2, without the first.
    static constexpr auto& with_one = Exponent<double>::coefficients;
    static constexpr double coefficients[] = {
        with_one[1], with_one[2], with_one[3], with_one[4],  with_one[5],  with_one[6], with_one[7],
        with_one[8], with_one[9], with_one[10], with_one[11], with_one[12], with_one[13]};
    static constexpr double furthest = 80;
};

// 2^x - 1 for -furthest <= x <= 0, without loss of digits near 0. NaN stays NaN.
template <class Real>
QKV_INLINE Vector<Real> exp2_minus_one(Vector<Real> x) {
    using Power = Exponent<Real>;
    typedef Integer<Real> Integers __attribute__((vector_size(QKV_VECTOR_BYTES)));
    const Vector<Real> rounded = x + Power::rounder;
    const Vector<Real> fraction = x - (rounded - Power::rounder);
    constexpr auto& coefficients = PowerMinusOne<Real>::coefficients;
    constexpr int degree = int(sizeof coefficients / sizeof(Real)) - 1;
    Vector<Real> series = broadcast(coefficients[degree]);
#pragma GCC unroll 16
    for (int k = degree - 1; k >= 0; --k) series = series * fraction + coefficients[k];
    const Integers bits = same_bits<Integers>(rounded) << Power::fraction_bits;
    const Vector<Real> power = same_bits<Vector<Real>>(bits);
    return power * (series * fraction) + (power - 1);
}

template <class Real>
struct Tanh {
    Vector<Real> value, slope;
};

// With m = e^(-2|x|) - 1: tanh|x| = -m / (2 + m), and its slope is 4 (1 + m) / (2 + m)^2.
template <class Real>
QKV_INLINE Tanh<Real> tanh(Vector<Real> x) {
    typedef Integer<Real> Integers __attribute__((vector_size(QKV_VECTOR_BYTES)));
    const Integers sign = same_bits<Integers>(x) & same_bits<Integers>(broadcast(Real(-0.0)));
    const Vector<Real> magnitude = same_bits<Vector<Real>>(same_bits<Integers>(x) ^ sign);
    const Vector<Real> exponent = magnitude * Real(-2 * log2_of_e);
    const Vector<Real> m =
        exp2_minus_one<Real>(larger(broadcast(-PowerMinusOne<Real>::furthest), exponent));
    const Vector<Real> inverse = 1 / (2 + m);
    const Vector<Real> value = (0 - m) * inverse;  // of 0 it is 0, where -m would be negative
    return {same_bits<Vector<Real>>(same_bits<Integers>(value) | sign),
            4 * (1 + m) * inverse * inverse};
}

}  // namespace qkv::QKV_ISA
