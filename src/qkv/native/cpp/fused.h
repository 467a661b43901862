// Which requests have loops of their own, and which of two these are.
#pragma once

#include "decode.h"

namespace qkv::QKV_ISA {

// Whether weights are a softmax of dot products, nothing else, and have no other use than the product
// with the values: that has loops of its own.
inline bool is_fused(const Request& request) {
    const Wanted& wanted = request.wanted;
    const bool has_statistics = wanted.entropy.data || wanted.distance.data ||
                                wanted.support.data || wanted.top_weights.data ||
                                wanted.mass.data || wanted.pool.data ||
                                wanted.chosen_weights.data || wanted.diagonals.data ||
                                wanted.collected.data;
    return request.normalizer == NormalizerKind::softmax &&
           request.score == ScoreKind::dot_product && !request.parameter.data && !request.dropout_states.data && request.output.data &&
           !has_statistics;
}

// Whether there are few queries per key: then time is that of reading the keys.
inline bool is_decode(const Request& request) {
    return request.queries * request.group <= 16 && request.queries <= 4 &&
           request.width % 16 == 0 && request.value_width % 16 == 0 &&
           request.bias_count == 0 && !request.bits.data;
}

// A group of several queries shares each load of a key; a lone query needs no padding.
template <class Storage, class Arithmetic>
void decode(const Request& request) {
    constexpr int shared = lanes<Real<Storage>> < 4 ? lanes<Real<Storage>> : 4;
    if (request.group * request.queries == 1)
        Decode<Storage, 1, Arithmetic>(request).run();
    else
        Decode<Storage, shared, Arithmetic>(request).run();
}

}  // namespace qkv::QKV_ISA
