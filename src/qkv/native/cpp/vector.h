// Vectors of the instruction set that this file is compiled for, in the compiler's own extensions.
//
// Everything below `namespace qkv::QKV_ISA` exists once per instruction set. Nothing here may call
// an inline function of the standard library: the linker keeps one copy of such a function for the
// whole module, and it could be the one compiled for instructions that this processor lacks.
#pragma once

#include <cstdint>

#if defined(__AVX512F__)
#define QKV_VECTOR_BYTES 64
#define QKV_VECTORS 4  // vectors of a register tile's row: 32 registers hold 6 x 4 sums
#elif defined(__AVX2__)
#define QKV_VECTOR_BYTES 32
#define QKV_VECTORS 2  // 16 registers hold 6 x 2
#elif defined(__aarch64__)
#define QKV_VECTOR_BYTES 16
#define QKV_VECTORS 4
#else
#define QKV_VECTOR_BYTES 16
#define QKV_VECTORS 2
#endif

#define QKV_INLINE inline __attribute__((always_inline))

namespace qkv::QKV_ISA {

template <class Real>
struct Traits {
    typedef Real Vector __attribute__((vector_size(QKV_VECTOR_BYTES)));
    static constexpr int lanes = QKV_VECTOR_BYTES / int(sizeof(Real));
};

template <class Real>
using Vector = typename Traits<Real>::Vector;

template <class Real>
constexpr int lanes = Traits<Real>::lanes;

// The integer as wide as a Real: comparisons of vectors give vectors of it.
template <class Real>
struct IntegerOf;
template <>
struct IntegerOf<float> {
    typedef std::int32_t type;
};
template <>
struct IntegerOf<double> {
    typedef std::int64_t type;
};
template <class Real>
using Integer = typename IntegerOf<Real>::type;

template <class Real>
QKV_INLINE Vector<Real> load(const Real* from) {
    Vector<Real> vector;
    __builtin_memcpy(&vector, from, sizeof vector);
    return vector;
}

template <class Real>
QKV_INLINE void store(Real* to, Vector<Real> vector) {
    __builtin_memcpy(to, &vector, sizeof vector);
}

template <class To, class From>
QKV_INLINE To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

template <class Real>
QKV_INLINE Vector<Real> broadcast(Real number) {
    return number - Vector<Real>{};
}

template <class Number>
QKV_INLINE Number smaller(Number a, Number b) {
    return b < a ? b : a;
}

template <class Number>
QKV_INLINE Number larger(Number a, Number b) {
    return a > b ? a : b;
}

constexpr QKV_INLINE std::int64_t rounded_up(std::int64_t size, std::int64_t step) {
    return (size + step - 1) / step * step;
}

template <class Number>
QKV_INLINE void clear(Number* numbers, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) numbers[i] = 0;
}

template <class Real>
constexpr Real infinity = Real(__builtin_inf());

template <class Real>
constexpr Real largest_finite = Real(sizeof(Real) == 4 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023);

template <int... Place>
struct Places {};

template <int Count, int... Place>
struct Counted : Counted<Count - 1, Count - 1, Place...> {};
template <int... Place>
struct Counted<0, Place...> {
    typedef Places<Place...> type;
};
template <class Real>
using Lanes = typename Counted<lanes<Real>>::type;

// The vector with each lane exchanged for the one whose place differs in the bit `Step`.
template <int Step, class Real, int... Place>
QKV_INLINE Vector<Real> exchanged(Vector<Real> vector, Places<Place...>) {
    return __builtin_shufflevector(vector, vector, (Place ^ Step)...);
}

template <class Real, int Step = lanes<Real> / 2>
QKV_INLINE Real largest(Vector<Real> vector) {
    if constexpr (Step == 0)
        return vector[0];
    else
        return largest<Real, Step / 2>(
            larger(exchanged<Step, Real>(vector, Lanes<Real>{}), vector));
}

template <class Real, int Step = lanes<Real> / 2>
QKV_INLINE Real sum(Vector<Real> vector) {
    if constexpr (Step == 0)
        return vector[0];
    else
        return sum<Real, Step / 2>(exchanged<Step, Real>(vector, Lanes<Real>{}) + vector);
}

// a0 b0 a1 b1 ... from the first halves of two vectors; zip_high: from the second halves.
template <class Real, int... Place>
QKV_INLINE Vector<Real> zip_low(Vector<Real> a, Vector<Real> b, Places<Place...>) {
    return __builtin_shufflevector(a, b, (Place / 2 + Place % 2 * lanes<Real>)...);
}

template <class Real, int... Place>
QKV_INLINE Vector<Real> zip_high(Vector<Real> a, Vector<Real> b, Places<Place...>) {
    constexpr int half = lanes<Real> / 2;
    return __builtin_shufflevector(a, b, (half + Place / 2 + Place % 2 * lanes<Real>)...);
}

// Rows become columns. Each round rotates the bits of a number's place (row, lane) by one, so as
// many rounds as a lane has bits exchange row and lane.
template <class Real>
QKV_INLINE void transpose(Vector<Real> (&rows)[lanes<Real>]) {
    constexpr int count = lanes<Real>;
#pragma GCC unroll 4
    for (int round = 1; round < count; round *= 2) {
        Vector<Real> zipped[count];
#pragma GCC unroll 16
        for (int i = 0; i < count / 2; ++i) {
            zipped[2 * i] = zip_low<Real>(rows[i], rows[i + count / 2], Lanes<Real>{});
            zipped[2 * i + 1] = zip_high<Real>(rows[i], rows[i + count / 2], Lanes<Real>{});
        }
#pragma GCC unroll 16
        for (int i = 0; i < count; ++i) rows[i] = zipped[i];
    }
}

// Lane i of the result is the sum of rows[i].
template <class Real>
QKV_INLINE Vector<Real> sums(Vector<Real> (&rows)[lanes<Real>]) {
    transpose<Real>(rows);
    constexpr int count = lanes<Real>;
#pragma GCC unroll 4
    for (int step = 1; step < count; step *= 2) {
#pragma GCC unroll 16
        for (int i = 0; i + step < count; i += 2 * step) rows[i] += rows[i + step];
    }
    return rows[0];
}

}  // namespace qkv::QKV_ISA
