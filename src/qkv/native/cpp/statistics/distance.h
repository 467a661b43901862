// How far a query looks: the mean of |position - j| over the keys j by its weights, 0 where it has
// no weight.
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
class Distance {
   public:
    // The keys to be passed over next, the first of which is so many positions ahead of the query.
    void begin(std::int64_t ahead) {
        for (int k = 0; k < QKV_VECTORS; ++k)
            first_[k] = counting_from(Number(ahead + k * lanes<Number>));
    }

    QKV_INLINE void take(Vector<Number> weights, std::int64_t j, int k) {
        const Vector<Number> steps = first_[k] + Number(j);
        reaches_[k] += weights * larger(steps, -steps);
        totals_[k] += weights;
    }
    QKV_INLINE void end_stretch() {
        for (int k = 0; k < QKV_VECTORS; ++k) {
            reach_ += double(sum<Number>(reaches_[k]));
            total_ += double(sum<Number>(totals_[k]));
            reaches_[k] = totals_[k] = Vector<Number>{};
        }
    }

    Number mean() const { return Number(reach_ / (total_ == 0 ? 1 : total_)); }

   private:
    Vector<Number> first_[QKV_VECTORS];
    Vector<Number> reaches_[QKV_VECTORS] = {}, totals_[QKV_VECTORS] = {};  // of a stretch
    double reach_ = 0, total_ = 0;
};

}  // namespace qkv::QKV_ISA
