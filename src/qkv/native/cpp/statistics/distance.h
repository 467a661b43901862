// How far a query looks: the mean of |position - j| over the keys j by its weights, 0 where it has
// no weight.
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
class Distance {
   public:
    // Weights of neighbouring keys, the first of which is so many positions ahead of the query.
    void add(Row<Number> row, std::int64_t ahead) {
        const Vector<Number> from_first = counting_from(Number(ahead));
        reach_ += row_sum(row, [&](Vector<Number> weights, std::int64_t j) {
            const Vector<Number> steps = from_first + Number(j);
            return weights * (steps < 0 ? -steps : steps);
        });
        total_ += row_sum(row, [](Vector<Number> weights, std::int64_t) { return weights; });
    }

    Number mean() const { return Number(reach_ / (total_ == 0 ? 1 : total_)); }

   private:
    double reach_ = 0, total_ = 0;
};

}  // namespace qkv::QKV_ISA
