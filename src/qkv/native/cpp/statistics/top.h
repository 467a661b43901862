// The strongest links of a row: its k largest weights with their keys, the largest first. Of equal
// weights the one of the lower key is first. What is hidden comes last, with weight 0.
#pragma once

#include "../normalizers/largest.h"
#include "../ranges.h"
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

// Puts each of some links, which come in the order of their keys, in its place among the strongest k: that
// of as many as are stronger. Unlike a heap's, no branch depends on a weight; but time grows with the
// square of their number. `candidates` has room for a vector more, `links` for one.
constexpr std::int64_t most_ranked = 512;

template <class Number>
void rank(Candidates<Number> candidates, std::int64_t count, std::int64_t k, Link<Number>* links) {
    const std::int64_t vectors = (count + lanes<Number> - 1) / lanes<Number>;
    for (std::int64_t i = count; i < vectors * lanes<Number>; ++i)
        candidates.values[i] = -infinity<Number>;
    Mask<Number> orders[most_ranked / lanes<Number>];
    for (std::int64_t j = 0; j < vectors; ++j) {
        const Vector<Number> weights = load(candidates.values + j * lanes<Number>) + 0;  // no -0
        orders[j] = weights == weights ? in_order<Number>(same_bits<Mask<Number>>(weights))
                                       : largest_integers<Number>();
    }
    for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t own = i / lanes<Number>;
        const Mask<Number> order = Mask<Number>{} + orders[own][i % lanes<Number>];
        std::int64_t place = 0;  // equal ones before it count, and those behind it do not
        for (std::int64_t j = 0; j < own; ++j)
            place += __builtin_popcountll(bits_of<Number>(orders[j] >= order));
        for (std::int64_t j = own; j < vectors; ++j)
            place += __builtin_popcountll(bits_of<Number>(orders[j] > order));
        const std::uint64_t before = (std::uint64_t(1) << i % lanes<Number>) - 1;
        place += __builtin_popcountll(bits_of<Number>(orders[own] == order) & before);
        links[smaller(place, k)] = {candidates.values[i], candidates.places[i]};
    }
}

// Puts the strongest k <= keys links of a row, whose weights are those of the keys that it sees, into
// `links`. `candidates` have room for a row and a vector more. What is hidden has weight -infinity,
// or 0 where no weight is negative; keys that are not of the row come with -infinity.
template <class Number>
void find_top(const Largest<Number>& row, const Ranges& seen, std::int64_t keys, std::int64_t k,
              Link<Number>* links, Candidates<Number> candidates) {
    const Number bound = row.nan ? -infinity<Number> : row.reached_by(k);
    std::int64_t found = row.compress(bound, candidates);
    seen.to_keys(candidates.places, found, candidates.places);
    while (found > 0 && candidates.places[found - 1] >= keys) --found;
    if (k <= found && found <= most_ranked) return rank(candidates, found, k, links);
    Strongest<Number> strongest(links, k);
    for (std::int64_t i = 0; i < found; ++i)
        strongest.offer({candidates.values[i], candidates.places[i]});
    // Where it has fewer than k: keys that it does not see.
    std::int64_t key = 0;
    const auto offer_up_to = [&](std::int64_t stop) {
        for (; key < stop && !strongest.is_full(); ++key) strongest.offer({-infinity<Number>, key});
    };
    for (const Range& range : seen) {
        offer_up_to(range.start);
        key = range.stop;
    }
    offer_up_to(keys);
    strongest.sort();
}

}  // namespace qkv::QKV_ISA
