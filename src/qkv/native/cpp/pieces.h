// Numbers as sums of bfloat16: float16 of two, float32 of three, of 8 bits each.
//
// Source: Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
// Higher-Precision Computations" (2019), section III.
#pragma once

#include "tile_products.h"

namespace qkv::QKV_ISA {

// A vector of numbers of which piece by piece is taken.
struct Remainder {
    Vector<float> numbers;

    // The next piece, in the upper halves of words. What is not finite, or would not be so when it is
    // rounded, goes into the first one whole or cut off.
    QKV_INLINE Bits take() {
        const Bits bits = same_bits<Bits>(numbers);
        const Bits special = largest_exponent(bits), nan = same_bits<Bits>(numbers != numbers);
        const Bits rounded = (bits + 0x8000u) & upper;
        const Bits cut = special | largest_exponent(rounded);
        const Bits piece = (cut & bits & upper) | (~cut & rounded) | (nan & 0x00400000u);
        const Vector<float> rest = numbers - same_bits<Vector<float>>(piece);
        numbers = same_bits<Vector<float>>(~special & same_bits<Bits>(rest));
        return piece;
    }

   private:
    static constexpr std::uint32_t upper = 0xffff0000u;

    // All bits of the words of what is not finite.
    static QKV_INLINE Bits largest_exponent(Bits bits) {
        return same_bits<Bits>((bits & 0x7f800000u) == 0x7f800000u);
    }
};

// The numbers from this one on, 0 beyond `count` of them.
template <class Storage>
QKV_INLINE Vector<float> load_some(const Storage* from, std::int64_t count) {
    if (count >= lanes<float>) return widened(from);
    Storage padded[lanes<float>] = {};
    for (std::int64_t i = 0; i < count; ++i) padded[i] = from[i];
    return widened(padded);
}

// So many operands hold the pieces of some terms, in whole groups.
template <int Pieces>
constexpr std::int64_t operands_of(std::int64_t terms) {
    return rounded_up((terms + 1) / 2, tile_side) * Pieces;
}

// Stores the pieces of numbers as those of terms j, j + 1, ... of a row; j a multiple of the lanes.
template <int Pieces>
QKV_INLINE void store_pieces(Pair* row, std::int64_t j, Vector<float> numbers) {
    constexpr std::int64_t group = 2 * tile_side;
    Pair* to = row + j / group * Pieces * tile_side + j % group / 2;
    Remainder remainder = {numbers};
#pragma GCC unroll 3
    for (int i = 0; i < Pieces; ++i) {
        const HalfBits piece = __builtin_convertvector(remainder.take() >> 16, HalfBits);
        __builtin_memcpy(to + i * tile_side, &piece, sizeof piece);
    }
}

// The pieces of two vectors of numbers in pairs.
template <int Pieces>
struct PairedPieces {
    Bits at[Pieces];

    QKV_INLINE PairedPieces(Vector<float> first, Vector<float> second) {
        Remainder low = {first}, high = {second};
#pragma GCC unroll 3
        for (int i = 0; i < Pieces; ++i) at[i] = (low.take() >> 16) | high.take();
    }
};

// The block times a factor row by row, `stride` operands apart, with zeros beside it and in the rows
// up to `padded_rows`. Returns whether every number is finite.
template <int Pieces, class Storage>
bool pack_pieces(Block<Storage> block, float factor, Pair* to, std::int64_t stride,
                 std::int64_t padded_rows) {
    Vector<float> probe = {};  // 0 * x is NaN where x is not finite
    for (std::int64_t i = 0; i < padded_rows; ++i, to += stride) {
        const std::int64_t width = i < block.rows ? block.width : 0;
        const Storage* from = block.data + i * block.stride;
        const std::int64_t padded = stride / Pieces * 2;
        for (std::int64_t j = 0; j < padded; j += lanes<float>) {
            Vector<float> numbers = {};
            if (j < width) numbers = load_some(from + j, width - j) * factor;
            probe += numbers * 0;
            store_pieces<Pieces>(to, j, numbers);
        }
    }
    return sum<float>(probe) == 0;
}

// Pairs of neighbouring rows of the block, `stride` operands apart, as terms of sums over its rows,
// with zeros beside it and in the rows up to `padded_rows`, whole groups. Returns whether every number
// is finite.
template <int Pieces, class Storage>
bool pack_pieces_of_rows(Block<Storage> block, Pair* to, std::int64_t stride,
                         std::int64_t padded_rows) {
    Vector<float> probe = {};
    for (std::int64_t i = 0; i < padded_rows; i += 2) {
        Pair* row = to + (i / 32 * Pieces * tile_side + i % 32 / 2) * stride;
        for (std::int64_t j = 0; j < stride; j += lanes<float>) {
            Vector<float> both[2] = {};
            for (std::int64_t half = 0; half < 2; ++half)
                if (i + half < block.rows && j < block.width)
                    both[half] = load_some(block.data + (i + half) * block.stride + j,
                                           block.width - j);
            probe += both[0] * 0 + both[1] * 0;
            const PairedPieces<Pieces> pieces(both[0], both[1]);
            for (int piece = 0; piece < Pieces; ++piece)
                __builtin_memcpy(row + piece * tile_side * stride + j, &pieces.at[piece],
                                 sizeof(Bits));
        }
    }
    return sum<float>(probe) == 0;
}

// As `pack_transposed`, in pairs of neighbouring columns of the block: a panel has `depth` rows of
// panel_width pairs. Returns whether every number is finite.
template <int Pieces, class Storage>
bool pack_pieces_transposed(Block<Storage> block, Pair* to, std::int64_t columns,
                            std::int64_t depth) {
    static_assert(lanes<float> == tile_side);
    constexpr std::int64_t side = tile_side, panel = panel_width<float>;
    Vector<float> probe = {};
    for (std::int64_t i = 0; i < columns; i += side) {
        Pair* column = to + i / panel * panel * depth + i % panel;
        for (std::int64_t group = 0; group * Pieces * side < depth; ++group) {
            Pair rows[side][Pieces * side];  // a group of each key
            for (std::int64_t k = 0; k < side; ++k)
                for (std::int64_t j = 0; j < 2; ++j) {
                    const std::int64_t first = group * 2 * side + j * side;
                    Vector<float> numbers = {};
                    if (i + k < block.rows && first < block.width)
                        numbers = load_some(block.data + (i + k) * block.stride + first,
                                            block.width - first);
                    probe += numbers * 0;
                    store_pieces<Pieces>(rows[k], j * side, numbers);
                }
            for (std::int64_t piece = 0; piece < Pieces; ++piece) {
                Vector<float> square[side];
                for (std::int64_t k = 0; k < side; ++k)
                    __builtin_memcpy(&square[k], rows[k] + piece * side, sizeof square[k]);
                transpose<float>(square);
                Pair* first = column + (group * Pieces + piece) * side * panel;
                for (std::int64_t k = 0; k < side; ++k)
                    __builtin_memcpy(first + k * panel, &square[k], sizeof square[k]);
            }
        }
    }
    return sum<float>(probe) == 0;
}

}  // namespace qkv::QKV_ISA
