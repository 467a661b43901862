// The derivative of softmax, row by row: what a query's cells need of its whole row, and what they
// make of it.
#pragma once

#include "pack.h"
#include "softmax.h"

namespace qkv::QKV_ISA {

// What a query subtracts: from its scores, in powers of two, the logsumexp as the sum of two
// numbers, and `dot` from the gradients of its weights.
template <class Number>
struct RowTerms {
    Number logsumexp, rest, dot;

    // Scores, in a unit, become weights, and the gradients of the weights those of the scores.
    QKV_INLINE void differentiate(std::int64_t count, Number unit, Number* weights,
                                  Number* gradients) const {
        for (std::int64_t j = 0; j < count; j += lanes<Number>) {
            const Vector<Number> score = load(weights + j) * unit - logsumexp - rest;
            // A score of -infinity beside a logsumexp that is not a number is hidden all the same.
            const Vector<Number> weight = load(weights + j) == -infinity<Number>
                                              ? Vector<Number>{}
                                              : exp2<Number>(score);
            const Vector<Number> gradient = weight * (load(gradients + j) - dot);
            store(weights + j, weight);
            // A weight of exactly 0 annihilates what is not finite, too.
            store(gradients + j, weight == 0 ? Vector<Number>{} : gradient);
        }
    }
};

// A row of the output times its gradient, in double: gradients of scores are differences of this
// and numbers of the same size.
template <class Storage>
double output_dot(const Request& request, Lead lead, std::int64_t row) {
    using Number = Real<Storage>;
    const Number* output = row_of<Number>(request.output, lead, row);
    const Storage* gradient = row_of<Storage>(request.output_gradient, lead, row);
    double sums[lanes<Number>] = {};
    std::int64_t j = 0;
    for (; j + lanes<Number> <= request.value_width; j += lanes<Number>) {
        Number right[lanes<Number>];
        store(right, widened(gradient + j));
        for (int lane = 0; lane < lanes<Number>; ++lane)
            sums[lane] += double(output[j + lane]) * double(right[lane]);
    }
    for (; j < request.value_width; ++j)
        sums[0] += double(output[j]) * double(widened_one(gradient + j));
    double total = 0;
    for (double part : sums) total += part;
    return total;
}

// The terms of all queries of one head.
template <class Storage>
void find_terms(const Request& request, Lead lead, RowTerms<Real<Storage>>* terms) {
    using Number = Real<Storage>;
    for (std::int64_t i = 0; i < request.queries; ++i) {
        const double logsumexp = *row_of<double>(request.logsumexp, lead, i) * log2_of_e;
        // Of a query that sees nothing all scores are -infinity, and stay so.
        const double finite = logsumexp == -infinity<double> ? 0 : logsumexp;
        terms[i].logsumexp = Number(finite);
        terms[i].rest = Number(finite - double(Number(finite)));
        terms[i].dot = Number(output_dot<Storage>(request, lead, i));
    }
}

}  // namespace qkv::QKV_ISA
