// The normalizer that a request asks for, row by row: scores become weights, and gradients of
// weights become gradients of scores.
#pragma once

#include "entmax.h"
#include "entmax15.h"
#include "identity.h"
#include "sigmoid.h"
#include "softmax.h"
#include "sparsemax.h"
#include "topk.h"

#include "../pack.h"

namespace qkv::QKV_ISA {

template <class Number>
class Normalizer {
   public:
    // `parameter` is of one head.
    Normalizer(const Request& request, Lead lead) : kind_(request.normalizer), top_(request.top) {
        parameter_ = kind_ == NormalizerKind::softmax ? -infinity<double> : 0;
        if (request.parameter.data) parameter_ = *row_of<double>(request.parameter, lead, 0);
    }

    // Whether most weights may be exactly 0, and notes say which are not.
    static bool is_sparse(NormalizerKind kind) {
        switch (kind) {  // of every kind, so that the compiler misses a new one
            case NormalizerKind::softmax:
            case NormalizerKind::sigmoid:
            case NormalizerKind::identity: return false;
            case NormalizerKind::sparsemax:
            case NormalizerKind::entmax15:
            case NormalizerKind::entmax:
            case NormalizerKind::topk: return true;
        }
        return false;
    }

    // Of what note.support counts, `candidates` has the places. `spare` has room for a row.
    RowNote normalize(Number* row, std::int64_t count, Candidates<Number> candidates,
                      Number* spare) const {
        switch (kind_) {
            case NormalizerKind::softmax: return softmax(row, count, parameter_);
            case NormalizerKind::sigmoid: sigmoid(row, count, Number(parameter_)); break;
            case NormalizerKind::identity: identity(row, count); break;
            case NormalizerKind::sparsemax: return sparsemax(row, count, candidates);
            case NormalizerKind::entmax15: return entmax15(row, count, candidates);
            case NormalizerKind::entmax: return entmax(row, count, parameter_, candidates);
            case NormalizerKind::topk: return topk(row, count, top_, candidates, spare);
        }
        return {};
    }

    // Of a row, or of what of it is not 0. Returns the gradient of the parameter.
    double differentiate(const RowNote& note, const Number* weights, Number* gradients,
                         std::int64_t count) const {
        switch (kind_) {
            case NormalizerKind::softmax:
            case NormalizerKind::topk: return differentiate_softmax(note, weights, gradients, count);
            case NormalizerKind::sigmoid: return differentiate_sigmoid(weights, gradients, count);
            case NormalizerKind::identity: differentiate_identity(weights, gradients, count); break;
            case NormalizerKind::sparsemax:
                differentiate_sparsemax(weights, gradients, count);
                break;
            case NormalizerKind::entmax15: differentiate_entmax15(weights, gradients, count); break;
            case NormalizerKind::entmax:
                return differentiate_entmax(parameter_, weights, gradients, count);
        }
        return 0;
    }

   private:
    NormalizerKind kind_;
    std::int64_t top_;
    double parameter_;
};

}  // namespace qkv::QKV_ISA
