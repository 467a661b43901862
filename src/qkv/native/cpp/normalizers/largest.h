// Finding the largest numbers of a row: a bound that at least so many reach, and what reaches it.
#pragma once

#include "../pass.h"
#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
QKV_INLINE Mask<Number> largest_integers() {
    return ~same_bits<Mask<Number>>(broadcast(Number(-0.0)));
}

// Integers in the order of the numbers, from their bits; and back.
template <class Number>
QKV_INLINE Mask<Number> in_order(Mask<Number> bits) {
    return bits ^ ((bits >> (8 * sizeof(Number) - 1)) & largest_integers<Number>());
}

// A number that at least k of these reach, whole vectors of them: by halving the range in which the
// k-th largest lies, until k of them or one number is left. They become integers.
template <class Number>
Number reached_by_some(Number* numbers, std::int64_t count, std::int64_t k) {
    using Order = Integer<Number>;
    Vector<Number> least = load(numbers), most = least;
    for (std::int64_t i = 0; i < count; i += lanes<Number>) {
        const Vector<Number> some = load(numbers + i);
        least = smaller(some, least);
        most = larger(some, most);
        const Mask<Number> order = in_order<Number>(same_bits<Mask<Number>>(some));
        store(numbers + i, same_bits<Vector<Number>>(order));
    }
    const auto order_of = [](Number number) {
        return in_order<Number>(same_bits<Mask<Number>>(broadcast(number)))[0];
    };
    Order low = order_of(-largest<Number>(-least)), high = order_of(largest<Number>(most));
    while (low < high) {
        const Order middle = (low & high) + ((low ^ high) >> 1) + ((low ^ high) & 1);  // upwards
        std::int64_t reach = 0;
        for (std::int64_t i = 0; i < count; i += lanes<Number>)
            reach += __builtin_popcountll(bits_of<Number>(
                same_bits<Mask<Number>>(load(numbers + i)) >= Mask<Number>{} + middle));
        if (reach >= k)
            low = middle;
        else
            high = middle - 1;
        if (reach == k) break;
    }
    return same_bits<Vector<Number>>(in_order<Number>(Mask<Number>{} + low))[0];
}

// The same for k of the maxima of disjoint parts, of which there are some more. -infinity where
// these numbers are too few for that.
template <class Number>
Number reached_by_parts(const Number* numbers, std::int64_t count, std::int64_t k, Number* spare) {
    const std::int64_t parts = rounded_up(2 * k, lanes<Number>);
    if (2 * parts > count) return -infinity<Number>;
    for (std::int64_t i = 0; i < parts; i += lanes<Number>) {
        Vector<Number> top = load(numbers + i);
        for (std::int64_t j = i + parts; j < count; j += parts)
            top = larger(load(numbers + j), top);
        store(spare + i, top);
    }
    return reached_by_some(spare, parts, k);
}

// Of each panel of a row the largest of its vectors, lane by lane: where few numbers are looked for
// most panels are passed over by them. Filled by a pass.
template <class Number>
class PanelMaxima {
   public:
    explicit PanelMaxima(Number* to) : to_(to) {}

    QKV_INLINE void take(Vector<Number> numbers, std::int64_t, int k) {
        top_ = k == 0 ? numbers : larger(numbers, top_);
        total_[k] += numbers;
        if (k < QKV_VECTORS - 1) return;
        store(to_, top_);
        to_ += lanes<Number>;
    }
    QKV_INLINE void end_stretch() {}

    // Whether there may be NaN, which the maxima need not show.
    bool is_suspicious() const {
        Number all = 0;
        for (const Vector<Number>& total : total_) all += sum<Number>(total);
        return all != all;
    }

   private:
    Number* to_;
    Vector<Number> top_ = {}, total_[QKV_VECTORS] = {};
};

// Finds the largest numbers of a row.
template <class Number>
class Largest {
   public:
    // `spare` has room for a row, and begins with the maxima of the panels.
    Largest(const Number* row, std::int64_t count, Number* spare, bool suspicious)
        : nan(suspicious && extremes(row, count).nan),
          row_(row),
          count_(count),
          maxima_(spare),
          spare_(spare + count / QKV_VECTORS) {}

    static Largest of(const Number* row, std::int64_t count, Number* spare) {
        PanelMaxima<Number> maxima(spare);
        pass_over(row, count, maxima);
        return Largest(row, count, spare, maxima.is_suspicious());
    }

    // A number that at least k of the row reach, -infinity where none is known. There is no NaN.
    Number reached_by(std::int64_t k) const {
        const Number bound = reached_by_parts(maxima_, spare_ - maxima_, k, spare_);
        return bound > -infinity<Number> ? bound : reached_by_parts(row_, count_, k, spare_);
    }

    // Takes out the numbers that reach a bound. The panels that have some are found first, many of
    // them without a branch.
    std::int64_t compress(Number bound, Candidates<Number> to) const {
        constexpr std::int64_t step = 64 * panel_width<Number>;
        std::int64_t found = 0;
        const Number* maxima = maxima_;
        for (std::int64_t start = 0; start < count_; start += step) {
            std::uint64_t reaching = 0;
            const std::int64_t panels = smaller(count_ - start, step) / panel_width<Number>;
            for (std::int64_t i = 0; i < panels; ++i, maxima += lanes<Number>)
                reaching |= std::uint64_t(bits_reaching(load(maxima), bound) != 0) << i;
            for (; reaching; reaching &= reaching - 1)
                compress_panel(row_, start + __builtin_ctzll(reaching) * panel_width<Number>, bound,
                               to, found);
        }
        return found;
    }

    const bool nan;  // whether some number of the row is

   private:
    const Number* row_;
    std::int64_t count_;
    Number *maxima_, *spare_;  // behind each other
};

}  // namespace qkv::QKV_ISA
