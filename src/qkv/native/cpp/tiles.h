// Eight tiles of 16 rows of 16 words, and their product. The processor's matrix unit (AMX) has them;
// with QKV_PLAIN_TILES plain C++ does the same to the bit, so that what is built on them runs and is
// tested anywhere. Each thread has tiles of its own.
//
// Source: Intel, "Architecture Instruction Set Extensions Programming Reference", chapter 3.
#pragma once

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "pairs.h"

namespace qkv::QKV_ISA {

constexpr std::int64_t tile_side = 16;  // rows of a tile, words of its row

#if defined(QKV_PLAIN_TILES)

struct PlainTile {
    std::uint32_t words[tile_side][tile_side];
};
inline thread_local PlainTile plain_tiles[8];

inline bool tiles_permitted() { return true; }
inline void begin_tiles() {}
inline void end_tiles() {}

template <int T>
void zero_tile() {
    plain_tiles[T] = {};
}
template <int T>
void load_tile(const void* from, std::int64_t row) {
    for (int i = 0; i < tile_side; ++i)
        __builtin_memcpy(plain_tiles[T].words[i], static_cast<const char*>(from) + i * row, 64);
}
template <int T>
void store_tile(void* to, std::int64_t row) {
    for (int i = 0; i < tile_side; ++i)
        __builtin_memcpy(static_cast<char*>(to) + i * row, plain_tiles[T].words[i], 64);
}

inline float without_subnormals(float x) {
    return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0, x) : x;
}
inline float number_of(std::uint32_t bits) {
    return without_subnormals(same_bits<float>(bits));
}

// Tile C plus the product of A's rows and B's columns. The first terms of the pairs are added up one
// by one from 0, and so are the second ones; their sum is added to C.
template <int C, int A, int B>
__attribute__((noinline)) void multiply_tiles() {
    for (int i = 0; i < tile_side; ++i)
        for (int j = 0; j < tile_side; ++j) {
            float first = 0, second = 0;
            for (int k = 0; k < tile_side; ++k) {
                const std::uint32_t a = plain_tiles[A].words[i][k], b = plain_tiles[B].words[k][j];
                first = without_subnormals(
                    __builtin_fmaf(number_of(a << 16), number_of(b << 16), first));
                second = without_subnormals(__builtin_fmaf(
                    number_of(a & 0xffff0000u), number_of(b & 0xffff0000u), second));
            }
            const float before = number_of(plain_tiles[C].words[i][j]);
            plain_tiles[C].words[i][j] = same_bits<std::uint32_t>(
                without_subnormals(before + without_subnormals(first + second)));
        }
}

#else

// Asks the system for the tiles, once for the process: threads share the answer, and so does a fork.
// Without it the first use of a tile ends the process.
inline bool tiles_permitted() {
#if defined(__linux__)
    constexpr long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

// All eight tiles whole. Edges are padded in memory.
inline void begin_tiles() {
    struct alignas(64) {
        std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
        std::uint16_t row_bytes[16] = {};
        std::uint8_t rows[16] = {};
    } layout;
    for (int i = 0; i < 8; ++i) layout.row_bytes[i] = 64, layout.rows[i] = tile_side;
    asm volatile("ldtilecfg %0" ::"m"(layout) : "memory");
}
// Else the system saves 8 KiB at each change of the thread that runs.
inline void end_tiles() { asm volatile("tilerelease"); }

// Assembly of our own: the compiler's functions do not say that they read and write memory.
template <int T>
QKV_INLINE void zero_tile() {
    asm volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int T>
QKV_INLINE void load_tile(const void* from, std::int64_t row) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(row), "i"(T) : "memory");
}
template <int T>
QKV_INLINE void store_tile(void* to, std::int64_t row) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(row), "i"(T) : "memory");
}
template <int C, int A, int B>
QKV_INLINE void multiply_tiles() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

#endif

// A thread's tiles, while it works.
struct TileSession {
    TileSession() { begin_tiles(); }
    ~TileSession() { end_tiles(); }
    TileSession(const TileSession&) = delete;
    TileSession& operator=(const TileSession&) = delete;
};

}  // namespace qkv::QKV_ISA
