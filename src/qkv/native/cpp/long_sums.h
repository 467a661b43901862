// Sums of very many terms. A running sum is rounded to its own size each time, and errors of one sign
// add up: with millions of terms float32 keeps four digits. So stretches of it are added in double.
#pragma once

#include "matmul.h"
#include "ranges.h"
#include "threads.h"

namespace qkv::QKV_ISA {

constexpr std::int64_t additions_in_a_row = 64;  // to a running sum

// The sum of what `of` gives for one vector after the other.
template <class Number, class Of>
QKV_INLINE Number sum_of_stretch(std::int64_t start, std::int64_t stop, Of& of) {
    Vector<Number> even = {}, odd = {};  // two, as the next addition need not wait for the last
    std::int64_t j = start;
    for (; j + 2 * lanes<Number> <= stop; j += 2 * lanes<Number>) {
        even += of(j);
        odd += of(j + lanes<Number>);
    }
    for (; j < stop; j += lanes<Number>) even += of(j);
    return sum<Number>(even + odd);
}

template <class Number>
constexpr std::int64_t stretch = 2 * lanes<Number> * additions_in_a_row;

template <class Number, class Of>
QKV_INLINE double sum_over(std::int64_t count, Of of) {
    double total = 0;
    for (std::int64_t start = 0; start < count; start += stretch<Number>)
        total += double(sum_of_stretch<Number>(start, smaller(start + stretch<Number>, count), of));
    return total;
}

// Numbers that something is added to again and again. Where that is often they are moved to sums in
// double every now and then, and come back in the end. Of several groups each is moved when it was
// added to so often, so that a pass costs what it adds.
template <class Number>
class LongSums {
   public:
    // `additions` is how many a group may get.
    LongSums(Number* sums, std::int64_t count, std::int64_t additions, std::int64_t groups = 1)
        : sums_(sums),
          count_(sizeof(Number) < sizeof(double) && additions > additions_in_a_row ? count : 0),
          wide_(count_),
          additions_(count_ == 0 ? 0 : groups) {
        for (std::int64_t i = 0; count_ != 0 && i < groups; ++i) additions_.data()[i] = 0;
    }

    void added() { added(0, {0, count_}); }

    // To each of these numbers, which are a group.
    void added(std::int64_t group, Range numbers) {
        if (count_ == 0) return;
        const std::int64_t additions = ++additions_.data()[group];
        if (additions % additions_in_a_row != 0) return;
        const bool moved_before = additions > additions_in_a_row;
        for (std::int64_t i = numbers.start; i < numbers.stop; ++i) {
            wide_.data()[i] = (moved_before ? wide_.data()[i] : 0) + double(sums_[i]);
            sums_[i] = 0;
        }
    }

    void finish() { finish(0, {0, count_}); }

    void finish(std::int64_t group, Range numbers) {
        if (count_ == 0 || additions_.data()[group] < additions_in_a_row) return;
        for (std::int64_t i = numbers.start; i < numbers.stop; ++i)
            sums_[i] = Number(wide_.data()[i] + double(sums_[i]));
    }

   private:
    Number* sums_;
    std::int64_t count_;
    Numbers<double> wide_;
    Numbers<std::int64_t> additions_;  // of each group
};

}  // namespace qkv::QKV_ISA
