// Ranges of keys, and several of them one behind the other.
#pragma once

#include "vector.h"

namespace qkv::QKV_ISA {

struct Range {
    std::int64_t start, stop;
    bool empty() const { return start >= stop; }
    std::int64_t size() const { return stop - start; }
};

QKV_INLINE Range intersection(Range a, Range b) {
    return {larger(a.start, b.start), smaller(a.stop, b.stop)};
}

// Some keys: disjoint ranges in ascending order, so few that passing over them costs nothing. Beyond
// that number the two that lie nearest become one, with what is between them.
class Ranges {
   public:
    // A range that is not empty. What touches becomes one.
    void add(Range range) {
        int first = count_;
        while (first > 0 && list_[first - 1].stop >= range.start) --first;
        int last = first;
        for (; last < count_ && list_[last].start <= range.stop; ++last)
            range = {smaller(range.start, list_[last].start), larger(range.stop, list_[last].stop)};
        replace(first, last, range);
        if (count_ > most) join_nearest();
    }

    void add(const Ranges& others) {
        for (const Range& range : others) add(range);
    }

    const Range* begin() const { return list_; }
    const Range* end() const { return list_ + count_; }
    bool empty() const { return count_ == 0; }

    // The number of keys.
    std::int64_t size() const {
        std::int64_t found = 0;
        for (const Range& range : *this) found += range.size();
        return found;
    }

    // How many of these keys come before a key that is one of them; -1 for any other.
    std::int64_t place(std::int64_t key) const {
        std::int64_t before = 0;
        for (const Range& range : *this) {
            if (key < range.start) return -1;
            if (key < range.stop) return before + key - range.start;
            before += range.size();
        }
        return -1;
    }

    // Ascending places become the keys that they are of.
    void to_keys(const std::int32_t* places, std::int64_t count, std::int32_t* keys) const {
        const Range* range = list_;
        std::int64_t before = 0;
        for (std::int64_t i = 0; i < count; ++i) {
            for (; places[i] >= before + range->size(); ++range) before += range->size();
            keys[i] = std::int32_t(range->start + places[i] - before);
        }
    }

   private:
    static constexpr int most = 64;

    // Puts one range in the place of those from `first` up to `last`.
    void replace(int first, int last, Range range) {
        const int shift = 1 - (last - first);
        if (shift > 0)
            for (int i = count_; i > last; --i) list_[i] = list_[i - 1];
        if (shift < 0)
            for (int i = last; i < count_; ++i) list_[i + shift] = list_[i];
        count_ += shift;
        list_[first] = range;
    }

    void join_nearest() {
        int nearest = 0;
        for (int i = 1; i + 1 < count_; ++i)
            if (gap(i) < gap(nearest)) nearest = i;
        replace(nearest, nearest + 2, {list_[nearest].start, list_[nearest + 1].stop});
    }

    std::int64_t gap(int i) const { return list_[i + 1].start - list_[i].stop; }

    int count_ = 0;
    Range list_[most + 1];  // one more, for a moment
};

}  // namespace qkv::QKV_ISA
