// The strongest links of a row: its k largest weights with their keys, the largest first. Of equal
// weights the one of the lower key is first. What is hidden comes last, with weight 0.
#pragma once

#include "row.h"

namespace qkv::QKV_ISA {

template <class Number>
struct Link {
    Number weight;
    std::int64_t key;
};

// NaN counts as the largest number, so that it shows.
template <class Number>
QKV_INLINE bool is_stronger(Link<Number> a, Link<Number> b) {
    const bool a_broken = a.weight != a.weight, b_broken = b.weight != b.weight;
    if (a_broken != b_broken) return a_broken;
    if (a_broken || a.weight == b.weight) return a.key < b.key;
    return a.weight > b.weight;
}

// The strongest `capacity` links of those that are offered: a heap, the weakest of them on top.
template <class Number>
class Strongest {
   public:
    Strongest(Link<Number>* links, std::int64_t capacity) : links_(links), capacity_(capacity) {}

    bool is_full() const { return count_ == capacity_; }

    void offer(Link<Number> link) {
        if (!is_full()) {
            std::int64_t at = count_++;
            for (; at > 0 && is_stronger(links_[(at - 1) / 2], link); at = (at - 1) / 2)
                links_[at] = links_[(at - 1) / 2];
            links_[at] = link;
        } else if (is_stronger(link, links_[0])) {
            sink(link);
        }
    }

    // Puts them in order, the strongest first. Nothing can be offered from then on.
    void sort() {
        while (count_ > 1) {
            const Link<Number> weakest = links_[0], last = links_[--count_];
            sink(last);
            links_[count_] = weakest;
        }
    }

   private:
    // Puts a link in the place of the weakest, and where it belongs.
    void sink(Link<Number> link) {
        std::int64_t at = 0;
        for (std::int64_t below = 1; below < count_; below = 2 * at + 1) {
            if (below + 1 < count_ && is_stronger(links_[below], links_[below + 1])) ++below;
            if (is_stronger(links_[below], link)) break;
            links_[at] = links_[below];
            at = below;
        }
        links_[at] = link;
    }

    Link<Number>* links_;
    std::int64_t capacity_, count_ = 0;
};

template <class Number>
QKV_INLINE bool any_reaches(Vector<Number> numbers, Number threshold) {
    typedef std::int64_t Words __attribute__((vector_size(QKV_VECTOR_BYTES)));
    const Words words = (Words)~(numbers < threshold);  // NaN on either side reaches
    std::int64_t found = 0;
    for (int i = 0; i < int(QKV_VECTOR_BYTES / sizeof(std::int64_t)); ++i) found |= words[i];
    return found != 0;
}

// Finds the strongest k links of rows. What is needed for it lies in scratch memory.
template <class Number>
class Top {
   public:
    // `keys`: of the whole matrix; k <= keys.
    Top(std::int64_t k, std::int64_t keys)
        : k_(k), keys_(keys), slots_(k * 2 < lanes<Number> * 4 ? 4 : rounded_up(k * 2, lanes<Number>) / lanes<Number>) {}

    // The size of the scratch memory: links, and numbers.
    std::int64_t links() const { return k_; }
    std::int64_t numbers() const {
        return (slots_ + rounded_up(keys_, block) / block + 2) * lanes<Number>;
    }

    // `ranks`: the weights, -infinity where they are hidden; where no weight is negative a hidden one
    // may be 0. The links come to lie in `links`.
    void find(Row<Number> ranks, Link<Number>* links, Number* numbers) const {
        const Number threshold = threshold_of(ranks, numbers);
        Strongest<Number> strongest(links, k_);
        const Number* block_maximum = numbers + slots_ * lanes<Number>;
        for (std::int64_t j = 0; j < ranks.count; j += block, block_maximum += lanes<Number>)
            if (any_reaches(load(block_maximum), threshold))
                offer(strongest, ranks, j, smaller(j + block, ranks.count), threshold);
        offer_unseen(strongest, ranks);
        strongest.sort();
        for (std::int64_t i = 0; i < k_; ++i)
            if (links[i].weight == -infinity<Number>) links[i].weight = 0;
    }

   private:
    static constexpr std::int64_t block = 8 * lanes<Number>;

    // A number that at least k of the row reach, since the largest numbers of k parts of it do. Every
    // block's vector of maxima comes to lie behind those of the parts.
    Number threshold_of(Row<Number> ranks, Number* numbers) const {
        Number* block_maximum = numbers + slots_ * lanes<Number>;
        for (std::int64_t i = 0; i < slots_; ++i) store(numbers + i * lanes<Number>, broadcast(-infinity<Number>));
        Vector<Number> total = {};
        std::int64_t slot = 0;
        for (std::int64_t j = 0; j < ranks.count; j += block, block_maximum += lanes<Number>) {
            Vector<Number> top = broadcast(-infinity<Number>);
            const std::int64_t stop = smaller(j + block, ranks.count);
            for (std::int64_t i = j; i < stop; i += lanes<Number>) {
                const Vector<Number> next = load(ranks.weights + i);
                total += next;
                top = next > top ? next : top;
            }
            store(block_maximum, top);
            Number* part = numbers + slot * lanes<Number>;
            store(part, load(part) > top ? load(part) : top);
            slot = slot + 1 == slots_ ? 0 : slot + 1;
        }
        // NaN takes part, and so must everything.
        const Number probe = sum<Number>(total);
        return probe == probe ? reached_by_enough(numbers) : probe;
    }

    // A number that at least k of the parts' maxima reach, and not many more: found by halving.
    Number reached_by_enough(const Number* maxima) const {
        Vector<Number> least = load(maxima), most = least;
        for (std::int64_t i = 1; i < slots_; ++i) {
            const Vector<Number> next = load(maxima + i * lanes<Number>);
            least = next < least ? next : least;
            most = next > most ? next : most;
        }
        Number low = -largest<Number>(-least), high = largest<Number>(most);
        for (int step = 0; step < 16 && low > -infinity<Number>; ++step) {
            const Number middle = low + (high - low) / 2;
            const Number count = number_reaching(maxima, middle);
            (count < Number(k_) ? high : low) = middle;
            if (count == Number(k_)) break;
        }
        return low;
    }

    Number number_reaching(const Number* maxima, Number threshold) const {
        Vector<Number> counts = {};
        for (std::int64_t i = 0; i < slots_; ++i)
            counts += load(maxima + i * lanes<Number>) >= threshold ? broadcast(Number(1))
                                                                     : Vector<Number>{};
        return sum<Number>(counts);
    }

    void offer(Strongest<Number>& strongest, Row<Number> ranks, std::int64_t start, std::int64_t stop,
               Number threshold) const {
        for (std::int64_t j = start; j < stop; j += lanes<Number>) {
            if (!any_reaches(load(ranks.weights + j), threshold)) continue;
            const std::int64_t end = smaller(j + lanes<Number>, keys_ - ranks.first);
            for (std::int64_t i = j; i < end; ++i)
                if (!(ranks.weights[i] < threshold))
                    strongest.offer({ranks.weights[i], ranks.first + i});
        }
    }

    // Where the row has fewer than k keys: others, which it does not see.
    void offer_unseen(Strongest<Number>& strongest, Row<Number> ranks) const {
        for (std::int64_t key = 0; key < keys_ && !strongest.is_full(); ++key)
            if (key < ranks.first || key >= ranks.first + ranks.count)
                strongest.offer({-infinity<Number>, key});
    }

    std::int64_t k_, keys_;
    std::int64_t slots_;  // vectors of parts' maxima: a few times as many parts as links
};

}  // namespace qkv::QKV_ISA
