// Which requests have loops of their own, and which of two these are.
#pragma once

#include "decode.h"
#include "decode_backward.h"

namespace qkv::QKV_ISA {

// Whether weights have other uses than the product with the values.
inline bool has_statistics(const Request& request) {
    const Wanted& wanted = request.wanted;
    return wanted.entropy.data || wanted.distance.data || wanted.support.data ||
           wanted.top_weights.data || wanted.mass.data || wanted.pool.data ||
           wanted.chosen_weights.data || wanted.diagonals.data || wanted.collected.data;
}

// Whether weights are a softmax of dot products, nothing else, and have no other use than the product
// with the values: that has loops of its own.
inline bool is_fused(const Request& request) {
    return request.normalizer == NormalizerKind::softmax &&
           request.score == ScoreKind::dot_product && !request.parameter.data &&
           !request.dropout_states.data && request.output.data && !has_statistics(request);
}

// Whether there are few queries per key: then time is that of reading the keys.
inline bool is_decode(const Request& request) {
    return request.queries * request.group <= 16 && request.queries <= 4 &&
           request.width % 16 == 0 && request.value_width % 16 == 0 &&
           request.bias_count == 0 && !request.bits.data;
}

// A group of several queries shares each load of a key; a lone query needs no padding.
template <class Number>
constexpr int shared_rows = lanes<Number> < 4 ? lanes<Number> : 4;

QKV_INLINE bool is_lone(const Request& request) { return request.group * request.queries == 1; }

template <class Storage, class Arithmetic>
void decode(const Request& request) {
    if (is_lone(request))
        Decode<Storage, 1, Arithmetic>(request).run();
    else
        Decode<Storage, shared_rows<Real<Storage>>, Arithmetic>(request).run();
}

template <class Storage>
void decode_backward(const Request& request) {
    if (is_lone(request))
        DecodeBackward<Storage, 1>(request).run();
    else
        DecodeBackward<Storage, shared_rows<Real<Storage>>>(request).run();
}

}  // namespace qkv::QKV_ISA
