// Which keys the queries of one head see.
#pragma once

#include "request.h"
#include "vector.h"

namespace qkv::QKV_ISA {

// One head of one batch entry; `member` counts the query heads that share a key head.
struct Lead {
    std::int64_t batch, head, member;
};

struct Range {
    std::int64_t start, stop;
    bool empty() const { return start >= stop; }
};

QKV_INLINE Range intersection(Range a, Range b) {
    return {larger(a.start, b.start), smaller(a.stop, b.stop)};
}

class Visible {
   public:
    QKV_INLINE Visible(const Intervals& intervals, Lead lead)
        : data_(intervals.data + lead.batch * intervals.batch + lead.head * intervals.head +
                lead.member * intervals.group),
          row_(intervals.row),
          count_(intervals.count) {}

    // The range of keys outside of which none of these queries sees anything.
    QKV_INLINE Range span(std::int64_t first, std::int64_t last) const {
        if (row_ == 0) last = smaller(last, first + 1);
        Range found = {INT64_MAX, 0};
        for (std::int64_t query = first; query < last; ++query)
            for (int i = 0; i < count_; ++i) {
                Range one = interval(query, i);
                if (one.empty()) continue;
                found = {smaller(found.start, one.start), larger(found.stop, one.stop)};
            }
        return found;
    }

    // Whether each of these queries has an interval that holds all of these keys.
    QKV_INLINE bool covers(std::int64_t first, std::int64_t last, Range keys) const {
        for (std::int64_t query = first; query < last; ++query) {
            bool inside = false;
            for (int i = 0; i < count_; ++i) {
                Range one = interval(query, i);
                inside |= one.start <= keys.start && keys.stop <= one.stop;
            }
            if (!inside) return false;
        }
        return true;
    }

    // For a vector of keys from `key` on: `seen` where the query sees the key, else `hidden`.
    template <class Number>
    QKV_INLINE Vector<Number> select(std::int64_t query, std::int64_t key, Vector<Number> seen,
                                     Number hidden) const {
        typedef Integer<Number> Keys __attribute__((vector_size(QKV_VECTOR_BYTES)));
        Keys keys, shown = {};
        for (int lane = 0; lane < lanes<Number>; ++lane) keys[lane] = Integer<Number>(key + lane);
        for (int i = 0; i < count_; ++i) {
            Range one = interval(query, i);
            shown |= (keys >= Integer<Number>(one.start)) & (keys < Integer<Number>(one.stop));
        }
        return shown ? seen : broadcast(hidden);
    }

   private:
    QKV_INLINE Range interval(std::int64_t query, int i) const {
        const std::int32_t* pair = data_ + query * row_ + 2 * i;
        return {pair[0], pair[1]};
    }

    const std::int32_t* data_;
    std::int64_t row_;
    int count_;
};

}  // namespace qkv::QKV_ISA
