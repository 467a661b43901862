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

    // At most so many `rows` of a strip, whole register tiles, and `keys`, whole panels.
    Scores(const Request& request, std::int64_t rows, std::int64_t keys, Pieces<Number>& pieces)
        : request_(request),
          width_(rounded_up(request.width, lanes<Number>)),
          weight_(static_cast<const Number*>(request.additive_weight)) {
        query = pieces.take(rows * width_);
        key_panels_ = pieces.take(keys * request.width);
        if (!weight_) return;
        query_reach_ = pieces.take(rows);
        key_reach_ = pieces.take(keys);
        six_queries_ = pieces.take(tile_rows * width_);
        one_panel_ = pieces.take(panel * request.width);
    }

    // Whole panels of keys, which hold all of the strips to come.
    void take_keys(Lead lead, Range keys) {
        lead_ = lead;
        keys_ = keys;
        pack_transposed(block_of_keys(keys), key_panels_);
        if (!weight_) return;
        for (std::int64_t key = 0; key < keys.stop - keys.start; key += panel)
            panel_to_powers(key_panels_ + key * request_.width, request_.width, key_reach_ + key);
    }

    void take_queries(Lead lead, Range queries) {
        lead_ = lead;
        queries_ = queries;
        const std::int64_t rows = queries.stop - queries.start;
        const std::int64_t padded = rounded_up(rows, tile_rows);
        const Number factor = weight_ ? Number(1) : Number(request_.scale);
        finite_query = pack(block_of_queries(queries), factor, query, width_, padded);
        if (!weight_) return;
        for (std::int64_t row = 0; row < padded; ++row)
            query_reach_[row] = to_powers(query + row * width_, width_);
    }

    // The scores of a register tile's queries, from row `row` of the strip on, and whole panels of
    // keys; rows of scores lie `scores_row` apart.
    void compute(std::int64_t row, Range keys, Number* scores, std::int64_t scores_row) {
        const Number* queries = query + row * width_;
        const Number* panels = key_panels_ + (keys.start - keys_.start) * request_.width;
        if (!weight_) {
            multiply(scores, scores_row, Strided<Number>{queries, width_, 1}, panels,
                     request_.width, keys.stop - keys.start);
            return;
        }
        for (std::int64_t key = keys.start; key < keys.stop; key += panel, scores += panel) {
            additive_scores(scores, scores_row, queries, width_,
                            panels + (key - keys.start) * request_.width, weight_, request_.width);
            if (!can_use_powers(row, {key, key + panel}))
                compute_beyond(row, key, scores, scores_row);
        }
    }

    // Whether the additive scores of all of these queries and keys can be made of powers.
    bool can_use_powers(std::int64_t row, Range keys) const {
        const Number* of_keys = key_reach_ + (keys.start - keys_.start);
        return most(query_reach_ + row, tile_rows) + most(of_keys, keys.stop - keys.start) <=
               additive_reach<Number>;
    }

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
        additive_scores_beyond(scores, scores_row, six_queries_, width_, one_panel_, weight_,
                               request_.width, query_reach_ + row, key_reach_ + (key - keys_.start));
    }

    const Request& request_;
    std::int64_t width_;    // padded to whole vectors
    const Number* weight_;  // of the additive score, or null
    Number* key_panels_;
    // The largest |number| of each query and of each key.
    Number *query_reach_ = nullptr, *key_reach_ = nullptr;
    Number *six_queries_ = nullptr, *one_panel_ = nullptr;
    Lead lead_ = {};
    Range keys_ = {0, 0}, queries_ = {0, 0};
};

}  // namespace qkv::QKV_ISA
