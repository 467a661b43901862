// Powers of two. Softmax in powers of two saves the multiplication by log2(e) per score: it goes
// into the scale once.
#pragma once

#include "vector.h"

namespace qkv::QKV_ISA {

constexpr double log2_of_e = 1.4426950408889634074;
constexpr double log_of_2 = 0.69314718055994530942;

template <class Real>
struct Exponent;

template <>
struct Exponent<float> {
    static constexpr int fraction_bits = 23;
    // Adding it rounds to an integer n and leaves n + 127, the exponent of 2^n, in the last bits.
    static constexpr float rounder = 12582912.0f + 127.0f;
    static constexpr float lowest = -126.0f;  // below, the power counts as 0
    // 2^f for |f| <= 1/2 by least relative error (9e-8), fitted with f^0 fixed at 1.
    static constexpr float coefficients[] = {1.0f,
                                             6.931469776e-01f,
                                             2.402224208e-01f,
                                             5.550733744e-02f,
                                             9.671512786e-03f,
                                             1.326472725e-03f};
};

template <>
struct Exponent<double> {
    static constexpr int fraction_bits = 52;
    static constexpr double rounder = 6755399441055744.0 + 1023.0;
    static constexpr double lowest = -1022.0;
    // Taylor: log(2)^k / k!; the first one left out is below 4e-18 at 1/2.
    static constexpr double coefficients[] = {1.0,
                                              6.93147180559945309e-01,
                                              2.40226506959100712e-01,
                                              5.55041086648215800e-02,
                                              9.61812910762847716e-03,
                                              1.33335581464284434e-03,
                                              1.54035303933816099e-04,
                                              1.52527338040598403e-05,
                                              1.32154867901443095e-06,
                                              1.01780860092396997e-07,
                                              7.05491162080112333e-09,
                                              4.44553827187081150e-10,
                                              2.56784359934882051e-11,
                                              1.36914888539041289e-12};
};

// 2^x for x up to about 0. Exactly 0 at -infinity; NaN stays NaN.
template <class Real>
QKV_INLINE Vector<Real> exp2(Vector<Real> x) {
    using Power = Exponent<Real>;
    typedef Integer<Real> Integers __attribute__((vector_size(QKV_VECTOR_BYTES)));
    Vector<Real> rounded = x + Power::rounder;
    Vector<Real> fraction = x - (rounded - Power::rounder);
    constexpr int degree = int(sizeof Power::coefficients / sizeof(Real)) - 1;
    Vector<Real> series = broadcast(Power::coefficients[degree]);
#pragma GCC unroll 16
    for (int k = degree - 1; k >= 0; --k) series = series * fraction + Power::coefficients[k];
    const Integers bits = same_bits<Integers>(rounded) << Power::fraction_bits;
    const Vector<Real> power = same_bits<Vector<Real>>(bits);
    // Below `lowest` the product is arbitrary, and dropped.
    return x < Power::lowest ? Vector<Real>{} : series * power;
}

QKV_INLINE float exp2_of(float x) { return __builtin_exp2f(x); }
QKV_INLINE double exp2_of(double x) { return __builtin_exp2(x); }

}  // namespace qkv::QKV_ISA
