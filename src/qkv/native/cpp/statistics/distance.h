// How far a query looks: the mean of |position - j| over the keys j by its weights, 0 where it has
// no weight.
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
Number distance(Row<Number> row, std::int64_t position) {
    const Vector<Number> from_first = counting_from(Number(row.first - position));
    Vector<Number> totals = {};
    const Number reach = row_sum(row, [&](Vector<Number> weights, std::int64_t j) {
        const Vector<Number> steps = from_first + Number(j);
        totals += weights;
        return weights * (steps < 0 ? -steps : steps);
    });
    const Number total = sum<Number>(totals);
    return reach / (total == 0 ? 1 : total);
}

}  // namespace qkv::QKV_ISA
