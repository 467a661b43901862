// The weights of the keys that stand so far ahead of a query's position, 0 where it sees none there.
#pragma once

#include "../ranges.h"
#include "row.h"
#include "wanted.h"

namespace qkv::QKV_ISA {

// `seen`: the keys that the row's weights are of.
template <class Number>
void take_diagonals(Row<Number> row, const Ranges& seen, std::int64_t position,
                    const Wanted& wanted, Number* to) {
    for (std::int64_t i = 0; i < wanted.diagonal_count; ++i) {
        const std::int64_t place = seen.place(position + wanted.offsets[i]);
        to[i] = place >= 0 ? row.weights[place] + Number(0) : Number(0);  // hidden may be -0
    }
}

}  // namespace qkv::QKV_ISA
