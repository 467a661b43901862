// Which keys the queries of one head see: those of some intervals and, where there are bits, of them
// those whose bit is set.
#pragma once

#include "ranges.h"
#include "request.h"

namespace qkv::QKV_ISA {

// One head of one batch entry; `member` counts the query heads that share a key head.
struct Lead {
    std::int64_t batch, head, member;
};

class Visible {
   public:
    QKV_INLINE Visible(const Request& request, Lead lead)
        : data_(request.intervals.data + offset(request.intervals, lead)),
          row_(request.intervals.row),
          count_(request.intervals.count),
          bits_(static_cast<const std::uint8_t*>(request.bits.data)),
          bits_row_(request.bits.row),
          bytes_((request.keys + 7) / 8) {
        if (bits_) bits_ += offset(request.bits, lead);
    }

    // The part of these keys outside of which none of these queries sees any of them.
    QKV_INLINE Range span(Range queries, Range keys) const {
        queries = distinct(queries);
        Range found = {INT64_MAX, 0};
        for (std::int64_t query = queries.start; query < queries.stop; ++query)
            for (int i = 0; i < count_; ++i) {
                const Range one = intersection(interval(query, i), keys);
                if (one.empty()) continue;
                found = {smaller(found.start, one.start), larger(found.stop, one.stop)};
            }
        return found;
    }

    // Keys outside of which none of these queries sees anything: ranges that begin and end at
    // multiples of `step`.
    Ranges keys_of(Range queries, std::int64_t step) const {
        Ranges found;
        const auto add = [&](Range range) {
            if (range.empty()) return;
            found.add({range.start / step * step, rounded_up(range.stop, step)});
        };
        queries = distinct(queries);
        for (int i = 0; i < count_; ++i) {
            Range run = {0, 0};  // of neighbours, which see about the same
            for (std::int64_t query = queries.start; query < queries.stop; ++query) {
                const Range one = interval(query, i);
                if (one.empty()) continue;
                if (one.start <= run.stop && run.start <= one.stop) {
                    run = {smaller(run.start, one.start), larger(run.stop, one.stop)};
                } else {
                    add(run);
                    run = one;
                }
            }
            add(run);
        }
        return found;
    }

    // Whether bits leave anything to see to any of these queries among these keys.
    bool any(Range queries, Range keys) const {
        if (!bits_) return true;
        const Range bytes = {keys.start / 8, smaller((keys.stop + 7) / 8, bytes_)};
        for (std::int64_t query = queries.start; query < queries.stop; ++query)
            for (std::int64_t byte = bytes.start; byte < bytes.stop; ++byte)
                if (bits_[query * bits_row_ + byte]) return true;
        return false;
    }

    // Puts `hidden` into the cells that their query does not see: one row of cells, `row` apart, for
    // each of these queries; one column for each of these keys, a multiple of the lanes, which the
    // first key is too where there are bits.
    template <class Number>
    void hide(Range queries, Range keys, Number* cells, std::int64_t row, Number hidden) const {
        for (std::int64_t query = queries.start; query < queries.stop; ++query, cells += row) {
            if (!covers(query, keys)) hide(query, keys, cells, hidden);
            if (bits_) hide_by_bits(query, keys, cells, hidden);
        }
    }

   private:
    // Those of the queries that have intervals of their own.
    QKV_INLINE Range distinct(Range queries) const {
        if (row_ == 0) queries.stop = smaller(queries.stop, queries.start + 1);
        return queries;
    }

    // Whether one interval of the query holds all of these keys.
    QKV_INLINE bool covers(std::int64_t query, Range keys) const {
        for (int i = 0; i < count_; ++i) {
            const Range one = interval(query, i);
            if (one.start <= keys.start && keys.stop <= one.stop) return true;
        }
        return false;
    }

    template <class Number>
    void hide(std::int64_t query, Range keys, Number* cells, Number hidden) const {
        typedef Integer<Number> Keys __attribute__((vector_size(QKV_VECTOR_BYTES)));
        Keys key;
        for (int lane = 0; lane < lanes<Number>; ++lane)
            key[lane] = Integer<Number>(keys.start + lane);
        const std::int64_t count = keys.stop - keys.start;
        for (std::int64_t j = 0; j < count; j += lanes<Number>, key += lanes<Number>) {
            Keys seen = {};
            for (int i = 0; i < count_; ++i) {
                const Range one = interval(query, i);
                seen |= (key >= Integer<Number>(one.start)) & (key < Integer<Number>(one.stop));
            }
            store(cells + j, seen ? load(cells + j) : broadcast(hidden));
        }
    }

    template <class Number>
    void hide_by_bits(std::int64_t query, Range keys, Number* cells, Number hidden) const {
        typedef Integer<Number> Keys __attribute__((vector_size(QKV_VECTOR_BYTES)));
        Keys lane_bits;
        for (int lane = 0; lane < lanes<Number>; ++lane) lane_bits[lane] = Integer<Number>(1) << lane;
        const std::uint8_t* bytes = bits_ + query * bits_row_;
        for (std::int64_t key = keys.start; key < keys.stop; key += lanes<Number>, cells += lanes<Number>) {
            unsigned shown = 0;
            for (std::int64_t i = 0; i < (lanes<Number> + 7) / 8; ++i)
                if (key / 8 + i < bytes_) shown |= unsigned(bytes[key / 8 + i]) << 8 * i;
            const Keys seen = lane_bits & Integer<Number>(shown >> key % 8);
            store(cells, seen != 0 ? load(cells) : broadcast(hidden));
        }
    }

    template <class Of>
    static QKV_INLINE std::int64_t offset(const Of& of, Lead lead) {
        return lead.batch * of.batch + lead.head * of.head + lead.member * of.group;
    }

    QKV_INLINE Range interval(std::int64_t query, int i) const {
        const std::int32_t* pair = data_ + query * row_ + 2 * i;
        return {pair[0], pair[1]};
    }

    const std::int32_t* data_;
    std::int64_t row_;
    int count_;
    const std::uint8_t* bits_;  // or null
    std::int64_t bits_row_, bytes_;
};

}  // namespace qkv::QKV_ISA
