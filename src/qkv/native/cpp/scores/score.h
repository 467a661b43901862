// Scores of a strip's queries against keys, before biases: inner products, or the additive score.
#pragma once

#include "additive.h"
#include "pack.h"
#include "threads.h"

namespace qkv::QKV_ISA {

// Keeps the keys of a task and the queries of a strip in the form in which they are compared.
template <class Storage>
class Scores {
   public:
    using Number = Real<Storage>;

    // At most so many `rows` of a strip, whole register tiles, and `keys`, whole panels. Without
    // memory the pieces are only counted.
    Scores(const Request& request, std::int64_t rows, std::int64_t keys, Pieces<Number>& pieces)
        : request_(request),
          width_(rounded_up(request.width, lanes<Number>)),
          weight_(static_cast<const Number*>(request.additive_weight)) {
        query = pieces.take(rows * width_);
        key_panels_ = pieces.take(keys * request.width);
        if (!weight_) return;
        scaled_query_ = pieces.take(rows * width_);
        query_reach_ = pieces.take(rows);
        key_reach_ = pieces.take(keys);
        six_queries_ = pieces.take(tile_rows * width_);
        one_panel_ = pieces.take(panel * request.width);
        Number* inverses = pieces.take(request.width);
        Number* totals = pieces.take(request.width);
        if (inverses) fast_weight_ = {weight_, request.width, inverses, totals};
    }

    // Whole panels of keys, which hold all of the strips to come.
    void take_keys(Lead lead, const Ranges& keys) {
        lead_ = lead;
        for (const Range& range : keys) {
            pack_transposed(block_of_keys(range), key_panels_ + range.start * request_.width);
            if (!weight_) continue;
            for (std::int64_t key = range.start; key < range.stop; key += panel)
                panel_to_powers(key_panels_ + key * request_.width, request_.width,
                                key_reach_ + key);
        }
    }

    void take_queries(Lead lead, Range queries) {
        lead_ = lead;
        queries_ = queries;
        const std::int64_t rows = queries.stop - queries.start;
        const std::int64_t padded = rounded_up(rows, tile_rows);
        const Number factor = weight_ ? Number(1) : Number(request_.scale);
        finite_query = pack(block_of_queries(queries), factor, query, width_, padded);
        if (!weight_) return;
        for (std::int64_t row = 0; row < padded; ++row) {
            Number* powers = query + row * width_;
            query_reach_[row] = to_powers(powers, width_);
            for (std::int64_t d = 0; d < request_.width; ++d)
                scaled_query_[row * width_ + d] = powers[d] * fast_weight_.inverse[d];
        }
    }

    // The scores of a register tile's queries, from row `row` of the strip on, and whole panels of
    // keys; rows of scores lie `scores_row` apart.
    void compute(std::int64_t row, Range keys, Number* scores, std::int64_t scores_row) {
        const Number* panels = key_panels_ + keys.start * request_.width;
        if (!weight_) {
            multiply(scores, scores_row, Strided<Number>{query + row * width_, width_, 1}, panels,
                     request_.width, keys.stop - keys.start);
            return;
        }
        for (std::int64_t key = keys.start; key < keys.stop; key += panel, scores += panel) {
            additive_scores(scores, scores_row, scaled_query_ + row * width_, width_,
                            panels + (key - keys.start) * request_.width, fast_weight_,
                            request_.width);
            if (!(reach(row, {key, key + panel}) <= fast_weight_.reach))
                compute_beyond(row, key, scores, scores_row);
        }
    }

    // The largest |query| + |key| of an additive score of a register tile's queries and some keys.
    Number reach(std::int64_t row, Range keys) const {
        return most(query_reach(row), tile_rows) +
               most(key_reach(keys.start), keys.stop - keys.start);
    }

    // Of one query and one key, and those that follow.
    const Number* query_reach(std::int64_t row) const { return query_reach_ + row; }
    const Number* key_reach(std::int64_t key) const { return key_reach_ + key; }

    Number* query;             // rows of the strip: times the scale, or as powers
    bool finite_query = true;  // whether the queries are finite

   private:
    static constexpr std::int64_t panel = panel_width<Number>;

    Block<Storage> block_of_keys(Range keys) const {
        return {request_.key, lead_, keys.start, smaller(keys.stop, request_.keys) - keys.start,
                request_.width};
    }

    Block<Storage> block_of_queries(Range queries) const {
        return {request_.query, lead_, queries.start, queries.stop - queries.start, request_.width};
    }

    static QKV_INLINE Number most(const Number* numbers, std::int64_t count) {
        Number found = 0;
        for (std::int64_t i = 0; i < count; ++i) found = larger(numbers[i], found);
        return found;
    }

    // From the numbers themselves, which are packed anew: this is rare.
    void compute_beyond(std::int64_t row, std::int64_t key, Number* scores,
                        std::int64_t scores_row) {
        const std::int64_t first = queries_.start + row;
        pack(block_of_queries({first, smaller(first + tile_rows, queries_.stop)}), Number(1),
             six_queries_, width_, tile_rows);
        pack_transposed(block_of_keys({key, key + panel}), one_panel_);
        additive_scores_beyond(fast_weight_.reach, scores, scores_row, six_queries_, width_,
                               one_panel_, weight_, request_.width, query_reach(row),
                               key_reach(key));
    }

    const Request& request_;
    std::int64_t width_;    // padded to whole vectors
    const Number* weight_;  // of the additive score, or null
    AdditiveWeight<Number> fast_weight_;
    Number *key_panels_, *scaled_query_ = nullptr;
    // The largest |number| of each query and of each key.
    Number *query_reach_ = nullptr, *key_reach_ = nullptr;
    Number *six_queries_ = nullptr, *one_panel_ = nullptr;
    Lead lead_ = {};
    Range queries_ = {0, 0};
};

}  // namespace qkv::QKV_ISA
