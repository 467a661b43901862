// Scores of a strip's queries against keys, before biases: inner products, or the additive score.
#pragma once

#include "additive.h"
#include "strip_sizes.h"

namespace qkv::QKV_ISA {

// Keeps the keys of a task and the queries of a strip in the form in which they are compared.
template <class Storage>
class Scores {
   public:
    using Number = Real<Storage>;

    Scores(const Request& request, const StripSizes<Number>& sizes, Pieces<Number>& pieces)
        : request_(request), sizes_(sizes), weight_(static_cast<const Number*>(request.additive_weight)) {
        query = pieces.take(sizes.rows * sizes.width);
        key_panels_ = pieces.take(sizes.keys * request.width);
        if (!weight_) return;
        key_reach_ = pieces.take(sizes.keys / panel);
        one_panel_ = pieces.take(request.width * panel);
        six_queries_ = pieces.take(sizes.width * tile_rows);
    }

    // Whole panels of keys, which hold all of the strips to come.
    void take_keys(Lead lead, Range keys) {
        lead_ = lead;
        keys_ = keys;
        pack_transposed(block_of_keys(keys), key_panels_);
        if (!weight_) return;
        for (std::int64_t key = 0; key < keys.stop - keys.start; key += panel)
            key_reach_[key / panel] =
                to_powers(key_panels_ + key * request_.width, panel * request_.width);
    }

    void take_queries(Lead lead, Range queries) {
        lead_ = lead;
        queries_ = queries;
        const std::int64_t rows = queries.stop - queries.start;
        const std::int64_t padded = rounded_up(rows, tile_rows);
        const Number factor = weight_ ? Number(1) : Number(request_.scale);
        finite_query = pack(block_of_queries(queries), factor, query, sizes_.width, padded);
        if (!weight_) return;
        for (std::int64_t row = 0; row < padded; row += tile_rows)
            query_reach_[row / tile_rows] =
                to_powers(query + row * sizes_.width, tile_rows * sizes_.width);
    }

    // The scores of a register tile's queries, from row `row` of the strip on, and whole panels of
    // keys; rows of scores lie `scores_row` apart.
    void compute(std::int64_t row, Range keys, Number* scores, std::int64_t scores_row) {
        const Number* queries = query + row * sizes_.width;
        const Number* panels = key_panels_ + (keys.start - keys_.start) * request_.width;
        if (!weight_) {
            multiply(scores, scores_row, Strided<Number>{queries, sizes_.width, 1}, panels,
                     request_.width, keys.stop - keys.start);
            return;
        }
        for (std::int64_t key = keys.start; key < keys.stop; key += panel, scores += panel)
            if (can_use_powers(row, key))
                additive_scores(scores, scores_row, queries, sizes_.width,
                                panels + (key - keys.start) * request_.width, weight_,
                                request_.width);
            else
                compute_any(row, key, scores, scores_row);
    }

    // Whether the additive score of these queries and the panel of this key can be made of powers.
    bool can_use_powers(std::int64_t row, std::int64_t key) const {
        return query_reach_[row / tile_rows] + key_reach_[(key - keys_.start) / panel] <=
               additive_reach<Number>;
    }

    Number* query;      // rows of the strip: times the scale, or as powers
    bool finite_query;  // whether the queries are finite

   private:
    static constexpr std::int64_t panel = panel_width<Number>;

    Block<Storage> block_of_keys(Range keys) const {
        return {request_.key, lead_, keys.start, smaller(keys.stop, request_.keys) - keys.start,
                request_.width};
    }

    Block<Storage> block_of_queries(Range queries) const {
        return {request_.query, lead_, queries.start, queries.stop - queries.start, request_.width};
    }

    // From the numbers themselves, which are packed anew: this is rare.
    void compute_any(std::int64_t row, std::int64_t key, Number* scores, std::int64_t scores_row) {
        const std::int64_t first = queries_.start + row;
        pack(block_of_queries({first, smaller(first + tile_rows, queries_.stop)}), Number(1),
             six_queries_, sizes_.width, tile_rows);
        pack_transposed(block_of_keys({key, key + panel}), one_panel_);
        additive_scores_of_any(scores, scores_row, six_queries_, sizes_.width, one_panel_, weight_,
                               request_.width);
    }

    const Request& request_;
    const StripSizes<Number>& sizes_;
    const Number* weight_;  // of the additive score, or null
    Number* key_panels_;
    Number* key_reach_ = nullptr;  // the largest number of each panel
    Number query_reach_[StripSizes<Number>::most_rows / tile_rows];
    Number *one_panel_ = nullptr, *six_queries_ = nullptr;
    Lead lead_ = {};
    Range keys_ = {0, 0}, queries_ = {0, 0};
};

}  // namespace qkv::QKV_ISA
