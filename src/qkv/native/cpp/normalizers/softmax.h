// Softmax of a whole row: exp(s_j) / (exp(sink) + sum_k exp(s_k)).
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

inline double natural_exp(double x) { return __builtin_exp2(x * log2_of_e); }

// `sink` is -infinity where there is none.
template <class Number>
RowNote softmax(Number* row, std::int64_t count, double sink) {
    const Number top = extremes(row, count).top;
    const Number shift = top == -infinity<Number> ? 0 : top;
    constexpr Number lowest = Exponent<Number>::lowest;
    double total = 0, moment = 0;  // of the powers; of their exponents by them
    for (std::int64_t start = 0; start < count; start += stretch<Number>) {
        Vector<Number> moments = {};
        const auto power_at = [&](std::int64_t j) {
            const Vector<Number> exponent = (load(row + j) - shift) * Number(log2_of_e);
            const Vector<Number> power = exp2<Number>(exponent);
            store(row + j, power);
            // A power of 0 annihilates: its exponent may be -infinity.
            moments += power * (exponent < lowest ? broadcast(lowest) : exponent);
            return power;
        };
        total += double(sum_of_stretch<Number>(start, smaller(start + stretch<Number>, count), power_at));
        moment += double(sum<Number>(moments));
    }
    RowNote note;
    if (total == 0) return note;
    note.logsumexp = double(shift) + __builtin_log2(total) * log_of_2;
    note.sink = 1 / (1 + natural_exp(note.logsumexp - sink));
    // What the sink leaves, not 1 less its share: that would lose the digits of a small rest.
    const double share = 1 / (1 + natural_exp(sink - note.logsumexp)) / total;
    const Number inverse = Number(share);
    // With w = 2^t share: -sum w log(w) = -share log(2) sum 2^t t - log(share) sum w.
    const double terms = moment + __builtin_log2(share) * total;
    note.entropy = share == 0 ? 0 : -share * log_of_2 * terms;
    for (std::int64_t j = 0; j < count; j += lanes<Number>) {
        const Vector<Number> power = load(row + j);
        // 0 times NaN, the inverse of a broken row, stays 0: it may be hidden.
        store(row + j, power == 0 ? Vector<Number>{} : power * inverse);
    }
    return note;
}

// `gradients` of weights become those of scores. Returns the gradient of the sink.
template <class Number>
double differentiate_softmax(const RowNote& note, const Number* weights, Number* gradients,
                             std::int64_t count) {
    const Number sum = Number(sum_over<Number>(count, [&](std::int64_t j) {
        const Vector<Number> weight = load(weights + j), product = weight * load(gradients + j);
        return weight == 0 ? Vector<Number>{} : product;
    }));
    for (std::int64_t j = 0; j < count; j += lanes<Number>) {
        const Vector<Number> weight = load(weights + j);
        const Vector<Number> gradient = weight * (load(gradients + j) - sum);
        store(gradients + j, weight == 0 ? Vector<Number>{} : gradient);
    }
    return note.sink == 0 ? 0 : -note.sink * double(sum);
}

}  // namespace qkv::QKV_ISA
