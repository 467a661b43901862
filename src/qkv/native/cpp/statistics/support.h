// The number of keys with weight > 0.
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
class Support {
   public:
    QKV_INLINE void take(Vector<Number> weights, std::int64_t, int k) { counts_[k] -= weights > 0; }
    QKV_INLINE void end_stretch() {}

    std::int64_t count() const {
        std::int64_t total = 0;
        for (const Integers& counts : counts_)
            for (int lane = 0; lane < lanes<Number>; ++lane) total += counts[lane];
        return total;
    }

   private:
    typedef Integer<Number> Integers __attribute__((vector_size(QKV_VECTOR_BYTES)));
    Integers counts_[QKV_VECTORS] = {};
};

}  // namespace qkv::QKV_ISA
