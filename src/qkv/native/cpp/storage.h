// The types that numbers are stored in, and their conversion to the type of the arithmetic.
#pragma once

#include "vector.h"

namespace qkv::QKV_ISA {

struct Bfloat16 {
    std::uint16_t bits;
};
struct Float16 {
    std::uint16_t bits;
};

template <class Storage>
struct RealOf {
    typedef float type;
};
template <>
struct RealOf<double> {
    typedef double type;
};
// The type in which numbers of a storage type are computed.
template <class Storage>
using Real = typename RealOf<Storage>::type;

typedef std::uint32_t Bits __attribute__((vector_size(QKV_VECTOR_BYTES)));
typedef std::uint16_t HalfBits __attribute__((vector_size(QKV_VECTOR_BYTES / 2)));

QKV_INLINE Bits load_bits(const void* from) {
    HalfBits half;
    __builtin_memcpy(&half, from, sizeof half);
    return __builtin_convertvector(half, Bits);
}

QKV_INLINE Vector<float> widened(const float* from) { return load(from); }
QKV_INLINE Vector<double> widened(const double* from) { return load(from); }
QKV_INLINE Vector<float> widened(const Bfloat16* from) {
    return same_bits<Vector<float>>(load_bits(from) << 16);
}

// The bits of a float16 one after the other in a float32 make a number that is too small by 2^112;
// infinity and NaN, the largest exponent, are set apart.
QKV_INLINE Vector<float> widened(const Float16* from) {
    Bits bits = load_bits(from);
    Bits sign = (bits & 0x8000u) << 16, magnitude = (bits & 0x7fffu) << 13;
    Vector<float> scaled = same_bits<Vector<float>>(magnitude) * 0x1p112f;
    Bits special = same_bits<Bits>(magnitude >= 0x0f800000u);
    Bits finite = same_bits<Bits>(scaled);
    return same_bits<Vector<float>>(sign | finite | (special & 0x7f800000u));
}

// As many numbers as a vector of double has.
template <class Number>
QKV_INLINE Vector<double> in_double(const Number* from) {
    typedef Number Some __attribute__((vector_size(sizeof(Number) * lanes<double>)));
    Some some;
    __builtin_memcpy(&some, from, sizeof some);
    return __builtin_convertvector(some, Vector<double>);
}

QKV_INLINE float widened_one(const float* from) { return *from; }
QKV_INLINE double widened_one(const double* from) { return *from; }
template <class Half>
QKV_INLINE float widened_one(const Half* from) {
    Half padded[lanes<float>] = {*from};
    return widened(padded)[0];
}

QKV_INLINE void narrow(float number, float* to) { *to = number; }
QKV_INLINE void narrow(double number, double* to) { *to = number; }

// Both round to the nearest, ties to even.
QKV_INLINE void narrow(float number, Bfloat16* to) {
    std::uint32_t bits = same_bits<std::uint32_t>(number);
    if (number != number) {
        to->bits = 0x7fc0;
        return;
    }
    to->bits = std::uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

QKV_INLINE void narrow(float number, Float16* to) {
    std::uint32_t bits = same_bits<std::uint32_t>(number);
    std::uint16_t sign = std::uint16_t(bits >> 16 & 0x8000u);
    std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        to->bits = 0x7e00;
    } else if (magnitude >= 0x477ff000u) {  // 65520 and beyond round to infinity
        to->bits = sign | 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // subnormal: adding 1/2 leaves its units in the last bits
        float shifted = same_bits<float>(magnitude) + 0.5f;
        to->bits = std::uint16_t(sign | (same_bits<std::uint32_t>(shifted) - 0x3f000000u));
    } else {
        std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
        to->bits = std::uint16_t(sign | (rounded - 0x38000000u) >> 13);
    }
}

// The first numbers of a vector.
template <class Number, class Storage>
QKV_INLINE void narrow_some(Vector<Number> numbers, std::int64_t count, Storage* to) {
    for (std::int64_t lane = 0; lane < count; ++lane) narrow(numbers[lane], to + lane);
}

}  // namespace qkv::QKV_ISA
