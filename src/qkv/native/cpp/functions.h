// The elementary functions one by one, so that each can be held to what docs/functions.md says of it.
#pragma once

#include "exp.h"
#include "log.h"
#include "normalizers/entmax.h"
#include "request.h"
#include "scores/additive_tile.h"
#include "tanh.h"

namespace qkv::QKV_ISA {

template <class Number>
Vector<Number> value_of(Function function, Vector<Number> x) {
    switch (function) {
        case Function::exp2: return exp2<Number>(x);
        case Function::exp2_minus_one: return exp2_minus_one<Number>(x);
        case Function::power_of_twice: return power_of_twice<Number>(x);
        case Function::share: return share<Number>(x);
        case Function::log2: return log2<Number>(x);
        case Function::log2_of_1_and: return log2_of_1_and<Number>(x);
        case Function::tanh: return tanh<Number>(x).value;
        case Function::tanh_slope: return tanh<Number>(x).slope;
        case Function::second_remainder: return second_remainder<Number>(x);
    }
    return x;
}

template <class Number>
void apply_to(Function function, const Number* from, Number* to, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += lanes<Number>) {
        const std::int64_t known = smaller<std::int64_t>(lanes<Number>, count - i);
        Number some[lanes<Number>] = {};
        for (std::int64_t k = 0; k < known; ++k) some[k] = from[i + k];
        store(some, value_of<Number>(function, load(some)));
        for (std::int64_t k = 0; k < known; ++k) to[i + k] = some[k];
    }
}

// To `count` numbers of float64 or else float32.
inline void apply(Function function, Type type, const void* from, void* to, std::int64_t count) {
    if (type == Type::float64)
        apply_to(function, static_cast<const double*>(from), static_cast<double*>(to), count);
    else
        apply_to(function, static_cast<const float*>(from), static_cast<float*>(to), count);
}

}  // namespace qkv::QKV_ISA
