// Sums of very many terms. A running sum is rounded to its own size each time, and errors of one sign
// add up: with millions of terms float32 keeps four digits. So stretches of it are added in double.
#pragma once

#include "matmul.h"
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
// double every now and then, and come back in the end.
template <class Number>
class LongSums {
   public:
    LongSums(Number* sums, std::int64_t count, std::int64_t additions)
        : sums_(sums),
          count_(sizeof(Number) < sizeof(double) && additions > additions_in_a_row ? count : 0),
          wide_(count_) {
        for (std::int64_t i = 0; i < count_; ++i) wide_.data()[i] = 0;
    }

    void added() {
        if (count_ == 0 || ++additions_ % additions_in_a_row != 0) return;
        for (std::int64_t i = 0; i < count_; ++i) {
            wide_.data()[i] += double(sums_[i]);
            sums_[i] = 0;
        }
    }

    void finish() {
        for (std::int64_t i = 0; i < count_; ++i)
            sums_[i] = Number(wide_.data()[i] + double(sums_[i]));
    }

   private:
    Number* sums_;
    std::int64_t count_, additions_ = 0;
    Numbers<double> wide_;
};

}  // namespace qkv::QKV_ISA
