// Which statistics of the weights are asked for, and where their results go. Plain data only, as in
// request.h. An output without data is not asked for.
#pragma once

#include "../tensor.h"

namespace qkv {

struct Wanted {
    // One number per query [batch, heads, group, queries], in the type of the arithmetic.
    Tensor entropy, distance;
    Tensor support;  // int64

    Tensor top_weights, top_keys;  // [..., queries, top], the second in int64
    std::int64_t top = 0;

    Tensor mass;  // [batch, heads, group, keys]

    Tensor pool;  // [batch, heads, group, pool_rows, pool_columns]: maxima or sums
    std::int64_t pool_rows = 0, pool_columns = 0;
    bool pool_maximum = false;

    Tensor chosen_weights;  // [..., queries, chosen_count], in the type of the inputs
    const std::int64_t* chosen = nullptr;
    std::int64_t chosen_count = 0;

    Tensor diagonals;  // [..., queries, diagonal_count]
    const std::int64_t* offsets = nullptr;  // of the keys from the position of their query
    std::int64_t diagonal_count = 0;

    Tensor collected_from, collected;  // [..., queries or keys, collected_width], as the inputs
    std::int64_t collected_width = 0;
};

}  // namespace qkv
