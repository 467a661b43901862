// Logarithms to base 2.
#pragma once

#include <type_traits>

#include "exp.h"
#include "storage.h"

namespace qkv::QKV_ISA {

// The parts of a number's bits that a logarithm needs.
template <class Number>
struct Parts;
template <>
struct Parts<float> {
    static constexpr std::int32_t root_of_half = 0x3f3504f3;
    static constexpr std::int32_t fraction = 0x007fffff, integer = 0x4b400000;
    static constexpr float integer_zero = 12582912.0f;  // bits `integer` + n are n more than this
    static constexpr int terms = 5;
};
template <>
struct Parts<double> {
    static constexpr std::int64_t root_of_half = 0x3fe6a09e667f3bcd;
    static constexpr std::int64_t fraction = 0x000fffffffffffff, integer = 0x4338000000000000;
    static constexpr double integer_zero = 6755399441055744.0;
    static constexpr int terms = 11;
};

// log2(x) of normal positive numbers; something finite for 0. With x = 2^n m, sqrt(1/2) <= m <
// sqrt(2), and t = (m - 1) / (m + 1): log(m) = 2 (t + t^3 / 3 + t^5 / 5 + ...).
template <class Number>
QKV_INLINE Vector<Number> log2(Vector<Number> x) {
    typedef Integer<Number> Integers __attribute__((vector_size(QKV_VECTOR_BYTES)));
    using Part = Parts<Number>;
    // Counted from the root of 1/2 on, the exponent is n and the fraction that of m.
    // Of a negative number, whose logarithm nobody reads, the difference wraps around.
    typedef std::make_unsigned_t<Integer<Number>> Bits __attribute__((vector_size(QKV_VECTOR_BYTES)));
    const Integers bits = same_bits<Integers>(same_bits<Bits>(x) - Part::root_of_half);
    const Integers exponent = bits >> Exponent<Number>::fraction_bits;
    const Vector<Number> n =
        same_bits<Vector<Number>>(exponent + Part::integer) - Part::integer_zero;
    const Vector<Number> m = same_bits<Vector<Number>>((bits & Part::fraction) + Part::root_of_half);
    const Vector<Number> t = (m - 1) / (m + 1), square = t * t;
    Vector<Number> series = broadcast(Number(2.0 * log2_of_e / (2 * Part::terms - 1)));
#pragma GCC unroll 16
    for (int k = Part::terms - 2; k >= 0; --k)
        series = series * square + Number(2.0 * log2_of_e / (2 * k + 1));
    return n + series * t;
}

// log2(1 + x) for x > -1, however small x is: the logarithm of the rounded sum, less what rounding
// changed (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 1.14.1).
template <class Number>
QKV_INLINE Vector<Number> log2_of_1_and(Vector<Number> x) {
    const Vector<Number> sum = 1 + x, rounded = sum - 1;
    return rounded == 0 ? x * Number(log2_of_e) : log2<Number>(sum) * (x / rounded);
}

}  // namespace qkv::QKV_ISA
