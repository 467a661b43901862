// What is asked of a kernel: sizes, where the tensors lie, and what happens to the scores between
// the product with the keys and the product with the values.
// Plain data only: every instruction set's build of the kernels reads the same structure.
#pragma once

#include <cstdint>

#include "statistics/wanted.h"
#include "tensor.h"

namespace qkv {

// Types are named by their place in this list, which Python has too (native/request.py); a test
// compares them. The others are named by their names.
#define QKV_TYPES(of) of(float32) of(float64) of(bfloat16) of(float16)
#define QKV_NORMALIZERS(of) \
    of(softmax) of(sigmoid) of(identity) of(sparsemax) of(entmax15) of(entmax) of(topk)
#define QKV_BIASES(of) of(cells) of(distance) of(soft_cap)

// Elementary functions that can be applied by themselves (functions.h).
#define QKV_FUNCTIONS(of)                                                       \
    of(exp2) of(exp2_minus_one) of(power_of_twice) of(share) of(log2)           \
    of(log2_of_1_and) of(tanh) of(tanh_slope) of(second_remainder)

#define QKV_NAME(name) name,
enum class ScoreKind { dot_product, additive, gaussian };
enum class Type { QKV_TYPES(QKV_NAME) };
enum class NormalizerKind { QKV_NORMALIZERS(QKV_NAME) };
enum class BiasKind { QKV_BIASES(QKV_NAME) };
enum class Function { QKV_FUNCTIONS(QKV_NAME) };
#undef QKV_NAME

// Keys [start, stop) that a query may see: `count` such pairs for each query, each within
// [0, keys], laid out [batch, heads, group, queries, count, 2].
struct Intervals {
    const std::int32_t* data = nullptr;
    std::int64_t batch = 0, head = 0, group = 0, row = 0;
    int count = 1;
};

// What changes scores before they are normalised; numbers are in the type of the arithmetic.
//   cells: adds values [batch, heads, group, queries, keys]. `column` is the stride of keys: 1, or 0
//     where a number counts for all keys.
//   distance: adds values[j - position + origin], of a vector for each head, [batch, heads, group,
//     numbers], numbers side by side. Every distance that occurs has its entry.
//   soft_cap: limit * tanh(score / limit).
struct Bias {
    BiasKind kind = BiasKind::cells;
    Tensor values;
    std::int64_t column = 0;
    std::int64_t numbers = 0, origin = 0;
    double limit = 0;
    Tensor gradient;  // of the values, of their shape and with strides of its own; absent: not asked
    std::int64_t gradient_column = 0;
};

constexpr int most_biases = 8;  // as in native/request.py

struct Request {
    Type type;
    std::int64_t batch, heads, group;  // `heads` of keys, each serving a `group` of query heads
    std::int64_t queries, keys, width, value_width;
    int threads;
    Tensor query, key, value;

    ScoreKind score;
    double scale;           // of dot_product: scale * query . key; of gaussian: of their difference
    void* additive_weight;  // of additive: sum_d weight[d] tanh(query[d] + key[d]), [width] in the
                            // type of the arithmetic

    Bias biases[most_biases];  // applied in this order
    int bias_count;
    Tensor positions;  // of queries among the keys: [batch, heads, group, queries], int64; absent: 0, 1, ...

    Intervals intervals;
    Tensor bits;  // what they leave and these bits show is seen: rows of bytes, bit j % 8 of byte j / 8

    NormalizerKind normalizer;
    // Of softmax the sink, of sigmoid the bias, of entmax alpha: [batch, heads, group, 1], float64.
    // Absent: no sink, a bias of 0.
    Tensor parameter;
    std::int64_t top;  // how many keys top-k takes

    // A weight is dropped where the hash of its column, begun with the state of its row, is below
    // the threshold; others are multiplied by `dropout_factor`. States [batch, heads, group,
    // queries], 32-bit words in int64; absent: nothing is dropped.
    Tensor dropout_states;
    std::uint32_t dropout_threshold;
    double dropout_factor;

    Tensor output;  // [batch, heads, group, queries, value_width], dense, in the type of the arithmetic
    // [batch, heads, group, queries], natural logarithm, float64; absent: not asked for.
    Tensor logsumexp;

    Tensor output_gradient, query_gradient, key_gradient, value_gradient;
    void* additive_weight_gradient;  // [width], in the type of the arithmetic
    Tensor parameter_gradient;       // [batch, heads, group, 1], float64

    Wanted wanted;  // beside output and logsumexp
};

// The kernels as one instruction set builds them.
struct Kernels {
    const char* name;
    void (*forward)(const Request&);   // writes output, logsumexp and what is wanted
    void (*backward)(const Request&);  // reads output and logsumexp, writes gradients
    bool (*output_is_finite)(const Request&);
    void (*apply)(Function, Type, const void* from, void* to, std::int64_t count);
};

// Loops for bfloat16 that is not widened, beside the kernels of a set without them.
struct PairKernels {
    const char* name;
    bool (*permitted)();  // whether the system lets this process use it
    bool (*serve_forward)(const Request&);
    bool (*serve_backward)(const Request&);
    void (*forward)(const Request&);
    void (*backward)(const Request&);
};

}  // namespace qkv
