// What is asked of a kernel: sizes, where the tensors lie, and which keys each query may see.
// Plain data only: every instruction set's build of the kernels reads the same structure.
#pragma once

#include <cstdint>

#include "statistics/wanted.h"
#include "tensor.h"

namespace qkv {

enum class Type { float32, float64, bfloat16, float16 };

// Keys [start, stop) that a query may see: `count` such pairs for each query, each within
// [0, keys], laid out [batch, heads, group, queries, count, 2].
struct Intervals {
    const std::int32_t* data = nullptr;
    std::int64_t batch = 0, head = 0, group = 0, row = 0;
    int count = 1;
};

struct Request {
    Type type;
    std::int64_t batch, heads, group;  // `heads` of keys, each serving a `group` of query heads
    std::int64_t queries, keys, width, value_width;
    double scale;  // scores = scale * query . key
    int threads;
    Intervals intervals;
    Tensor query, key, value;
    Tensor output;         // [batch, heads, group, queries, value_width], in the type of the inputs
    Tensor logsumexp;      // [batch, heads, group, queries], natural logarithm, float64
    Tensor output_gradient, query_gradient, key_gradient, value_gradient;
    Wanted wanted;
};

// The kernels as one instruction set builds them.
struct Kernels {
    const char* name;
    void (*forward)(const Request&);   // output, logsumexp
    void (*decode)(const Request&);    // the same, for few queries and many keys
    void (*backward)(const Request&);  // query_gradient, key_gradient, value_gradient
};

}  // namespace qkv
