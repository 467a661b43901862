// Products of bfloat16 by pairs: two neighbouring terms of a sum stand in one word, and one
// instruction multiplies and adds both. Products are exact and sums in float32, as where numbers are
// widened first, at twice the speed.
#pragma once

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include "pack.h"

namespace qkv::QKV_ISA {

// Two terms, the first in the lower half.
struct Pair {
    std::uint32_t bits;
};

template <>
struct Traits<Pair> {
    typedef Bits Vector;
    static constexpr int lanes = QKV_VECTOR_BYTES / int(sizeof(Pair));
};

QKV_INLINE Bits widened(const Pair* from) {
    Bits words;
    __builtin_memcpy(&words, from, sizeof words);
    return words;
}

QKV_INLINE Bits broadcast(Pair pair) { return pair.bits - Bits{}; }

template <>
struct Terms<Pair> {
    typedef float Sum;
    static QKV_INLINE Vector<float> multiply_and_add(Bits a, Bits b, Vector<float> sum) {
#if defined(__AVX512BF16__)
        return same_bits<Vector<float>>(_mm512_dpbf16_ps(
            same_bits<__m512>(sum), same_bits<__m512bh>(a), same_bits<__m512bh>(b)));
#else
        sum += same_bits<Vector<float>>(a & upper) * same_bits<Vector<float>>(b & upper);
        return sum + same_bits<Vector<float>>(a << 16) * same_bits<Vector<float>>(b << 16);
#endif
    }
    static QKV_INLINE Bits where_not_zero(Bits a, Bits b) {
        const Bits first = same_bits<Bits>((a & 0x7fffu) != 0);
        const Bits second = same_bits<Bits>((a & 0x7fff0000u) != 0);
        return b & ((first & ~upper) | (second & upper));
    }

   private:
    static constexpr std::uint32_t upper = 0xffff0000u;
};

// Rounded to the nearest, ties to even; subnormal numbers to 0, as the instruction has it. What is not
// a number stays so.
QKV_INLINE Bits rounded_to_bfloat16(Vector<float> numbers) {
    const Bits bits = same_bits<Bits>(numbers);
    const Bits normal = same_bits<Bits>((bits & 0x7f800000u) != 0);
    const Bits rounded = (bits + (normal & (0x7fffu + ((bits >> 16) & 1u)))) & (normal | 0x80000000u);
    return numbers == numbers ? rounded >> 16 : Bits{} + 0x7fc0u;
}

// Stores numbers as half as many pairs, of neighbours.
QKV_INLINE void store_rounded(Pair* to, Vector<float> numbers) {
#if defined(__AVX512BF16__)
    const __m256bh rounded = _mm512_cvtneps_pbh(same_bits<__m512>(numbers));
#else
    const HalfBits rounded = __builtin_convertvector(rounded_to_bfloat16(numbers), HalfBits);
#endif
    __builtin_memcpy(to, &rounded, sizeof rounded);
}

// Pairs of the numbers of two vectors.
QKV_INLINE Bits paired(Vector<float> first, Vector<float> second) {
    return rounded_to_bfloat16(first) | (rounded_to_bfloat16(second) << 16);
}

// Puts pairs of the numbers of two rows, which lie `step` apart, where the first of them is.
QKV_INLINE void pair_rows(float* rows, std::int64_t step, std::int64_t count) {
    for (std::int64_t j = 0; j < count; j += lanes<float>) {
        const Bits pairs = paired(load(rows + j), load(rows + step + j));
        __builtin_memcpy(rows + j, &pairs, sizeof pairs);
    }
}

// The block row by row, `stride` pairs apart, with zeros beside it and in the rows up to
// `padded_rows`; with the other sign, if asked. Returns whether every number is finite.
inline bool pack_pairs(Block<Bfloat16> block, bool negated, Pair* to, std::int64_t stride,
                       std::int64_t padded_rows) {
    const std::uint16_t sign = negated ? 0x8000u : 0;
    bool finite = true;
    for (std::int64_t i = 0; i < padded_rows; ++i, to += stride) {
        typedef std::uint16_t __attribute__((may_alias)) Half;
        Half* row = reinterpret_cast<Half*>(to);
        const std::int64_t width = i < block.rows ? block.width : 0;
        const Bfloat16* from = block.data + i * block.stride;
        std::uint16_t special = 0;
        for (std::int64_t j = 0; j < width; ++j) {
            row[j] = std::uint16_t(from[j].bits ^ sign);
            special |= (from[j].bits & 0x7f80u) == 0x7f80u;
        }
        for (std::int64_t j = width; j < 2 * stride; ++j) row[j] = 0;
        finite &= special == 0;
    }
    return finite;
}

// Pairs of neighbouring rows: row p holds the rows 2 p and 2 p + 1 of the block, `stride` pairs apart,
// with zeros beside it and in the rows up to `padded_rows`, an even number. Returns whether every
// number is finite.
inline bool pack_pairs_of_rows(Block<Bfloat16> block, Pair* to, std::int64_t stride,
                               std::int64_t padded_rows) {
    Bits special = {};
    std::uint32_t special_one = 0;
    for (std::int64_t i = 0; i < padded_rows; i += 2, to += stride) {
        const bool has_first = i < block.rows, has_second = i + 1 < block.rows;
        const Bfloat16* from = block.data + i * block.stride;
        std::int64_t j = 0;
        for (; has_first && j + lanes<Pair> <= block.width; j += lanes<Pair>) {
            const Bits first = load_bits(from + j);
            const Bits second = has_second ? load_bits(from + block.stride + j) : Bits{};
            special |= same_bits<Bits>((first & 0x7f80u) == 0x7f80u) |
                       same_bits<Bits>((second & 0x7f80u) == 0x7f80u);
            const Bits pairs = first | (second << 16);
            __builtin_memcpy(to + j, &pairs, sizeof pairs);
        }
        for (; has_first && j < block.width; ++j) {
            const std::uint32_t first = from[j].bits;
            const std::uint32_t second = has_second ? from[block.stride + j].bits : 0;
            special_one |= (first & 0x7f80u) == 0x7f80u || (second & 0x7f80u) == 0x7f80u;
            to[j].bits = first | (second << 16);
        }
        for (; j < stride; ++j) to[j].bits = 0;
    }
    for (int lane = 0; lane < lanes<Pair>; ++lane) special_one |= special[lane];
    return special_one == 0;
}

// As `pack_transposed`, in pairs of neighbouring columns of the block: a panel has one row of
// panel_width pairs for each two columns, `depth` rows at least as many, the last of them 0.
inline void pack_pairs_transposed(Block<Bfloat16> block, Pair* to, std::int64_t columns,
                                  std::int64_t depth) {
    constexpr std::int64_t side = lanes<Pair>, panel = panel_width<float>;
    for (std::int64_t i = 0; i < columns; i += side) {
        const Bfloat16* from = block.data + i * block.stride;
        Pair* column = to + i / panel * panel * depth + i % panel;
        std::int64_t j = 0;
        for (; 2 * (j + side) <= block.width; j += side) {
            Vector<float> square[side];
#pragma GCC unroll 16
            for (int k = 0; k < side; ++k) {
                square[k] = Vector<float>{};
                if (i + k < block.rows)
                    __builtin_memcpy(&square[k], from + k * block.stride + 2 * j, sizeof square[k]);
            }
            transpose<float>(square);
#pragma GCC unroll 16
            for (int k = 0; k < side; ++k)
                __builtin_memcpy(column + (j + k) * panel, &square[k], sizeof square[k]);
        }
        for (; j < depth; ++j)
            for (std::int64_t k = 0; k < side; ++k) {
                const Bfloat16* pair = from + k * block.stride + 2 * j;
                const bool known = i + k < block.rows;
                const std::uint32_t first = known && 2 * j < block.width ? pair[0].bits : 0;
                const std::uint32_t second = known && 2 * j + 1 < block.width ? pair[1].bits : 0;
                column[j * panel + k].bits = first | (second << 16);
            }
    }
}

// Pairs of two neighbouring rows of a matrix, `row` apart, where they lie: of each two vectors the
// first has even columns, the second odd ones. Beyond the last row there is 0.
struct RowsInPairs {
    const Bfloat16* data;
    std::int64_t row, left;

    template <int Vectors>
    QKV_INLINE void next(Bits (&found)[Vectors]) {
        constexpr std::uint32_t lower = 0xffffu;
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; j += 2) {
            const Bits first = columns(data, j / 2);
            const Bits second = left > 1 ? columns(data + row, j / 2) : Bits{};
            found[j] = (first & lower) | (second << 16);
            found[j + 1] = (first >> 16) | (second & ~lower);
        }
        data += 2 * row, left -= 2;
    }

   private:
    static QKV_INLINE Bits columns(const Bfloat16* of, int vector) {
        return widened(reinterpret_cast<const Pair*>(of) + vector * lanes<Pair>);
    }
};

}  // namespace qkv::QKV_ISA
