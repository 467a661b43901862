// The additive score of a strip's queries and the keys of its task, and its derivative.
#pragma once

#include "../pack.h"
#include "../strip_sizes.h"
#include "additive_tile_gradient.h"

namespace qkv::QKV_ISA {

// Keeps queries and keys as powers.
template <class Storage>
class Additive {
   public:
    using Number = Real<Storage>;

    // For requests of another score nothing is kept.
    Additive(const Request& request, const StripSizes<Number>& sizes, Pieces<Number>& pieces)
        : request_(request),
          width_(sizes.width),
          weight_(static_cast<const Number*>(request.additive_weight)) {
        if (request.score != ScoreKind::additive) return;
        query = pieces.take(sizes.rows * width_);
        key_panels_ = pieces.take(sizes.keys * request.width);
        scaled_query_ = pieces.take(sizes.rows * width_);
        query_reach_ = pieces.take(sizes.rows);
        key_reach_ = pieces.take(sizes.keys);
        six_queries_ = pieces.take(tile_rows * width_);
        one_panel_ = pieces.take(panel * request.width);
        Number* inverses = pieces.take(request.width);
        Number* totals = pieces.take(request.width);
        if (inverses) fast_weight_ = {weight_, request.width, inverses, totals};
    }

    void take_keys(Lead lead, const Ranges& keys) {
        lead_ = lead;
        for (const Range& range : keys) {
            pack_panels(block_of_keys<Storage>(request_, lead, range),
                            key_panels_ + range.start * request_.width);
            for (std::int64_t key = range.start; key < range.stop; key += panel)
                panel_to_powers(key_panels_ + key * request_.width, request_.width,
                                key_reach_ + key);
        }
    }

    void take_queries(Lead lead, Range queries) {
        lead_ = lead;
        queries_ = queries;
        const std::int64_t padded = rounded_up(queries.size(), tile_rows);
        pack(block_of_queries<Storage>(request_, lead, queries), Number(1), query, width_, padded);
        for (std::int64_t row = 0; row < padded; ++row) {
            Number* powers = query + row * width_;
            query_reach_[row] = to_powers(powers, width_);
            for (std::int64_t d = 0; d < request_.width; ++d)
                scaled_query_[row * width_ + d] = powers[d] * fast_weight_.inverse[d];
        }
    }

    void compute(std::int64_t row, Range keys, Number* scores, std::int64_t scores_row) {
        for (std::int64_t key = keys.start; key < keys.stop; key += panel, scores += panel) {
            additive_scores(scores, scores_row, scaled_query_ + row * width_, width_,
                            key_panels_ + key * request_.width, fast_weight_, request_.width);
            if (!(reach(row, {key, key + panel}) <= fast_weight_.reach))
                compute_beyond(row, key, scores, scores_row);
        }
    }

    // The largest |query| + |key| of a register tile's queries and some keys.
    Number reach(std::int64_t row, Range keys) const {
        return most(query_reach(row), tile_rows) + most(key_reach(keys.start), keys.size());
    }

    // Of one query and one key, and those that follow.
    const Number* query_reach(std::int64_t row) const { return query_reach_ + row; }
    const Number* key_reach(std::int64_t key) const { return key_reach_ + key; }

    Number* query = nullptr;  // rows of the strip, as powers

   private:
    static constexpr std::int64_t panel = panel_width<Number>;

    static QKV_INLINE Number most(const Number* numbers, std::int64_t count) {
        Number found = 0;
        for (std::int64_t i = 0; i < count; ++i) found = larger(numbers[i], found);
        return found;
    }

    // From the numbers themselves, which are packed anew: this is rare.
    void compute_beyond(std::int64_t row, std::int64_t key, Number* scores,
                        std::int64_t scores_row) {
        const std::int64_t first = queries_.start + row;
        const Range queries = {first, smaller(first + tile_rows, queries_.stop)};
        pack(block_of_queries<Storage>(request_, lead_, queries), Number(1), six_queries_, width_,
             tile_rows);
        pack_panels(block_of_keys<Storage>(request_, lead_, {key, key + panel}), one_panel_);
        additive_scores_beyond(fast_weight_.reach, scores, scores_row, six_queries_, width_,
                               one_panel_, weight_, request_.width, query_reach(row),
                               key_reach(key));
    }

    const Request& request_;
    std::int64_t width_;  // padded to whole vectors
    const Number* weight_;
    AdditiveWeight<Number> fast_weight_;
    Number *key_panels_ = nullptr, *scaled_query_ = nullptr;
    // The largest |number| of each query and of each key.
    Number *query_reach_ = nullptr, *key_reach_ = nullptr;
    Number *six_queries_ = nullptr, *one_panel_ = nullptr;
    Lead lead_ = {};
    Range queries_ = {0, 0};
};

// The keys of a task as the derivative reads them, and what is summed for the weight.
template <class Storage>
class AdditiveGradients {
   public:
    using Number = Real<Storage>;

    AdditiveGradients(const Request& request, const StripSizes<Number>& sizes,
                      Pieces<Number>& pieces)
        : request_(request), sizes_(sizes) {
        if (request.score != ScoreKind::additive) return;
        keys_ = pieces.take(sizes.keys * sizes.width);
        raw_keys_ = pieces.take(tile_columns * sizes.width);
        raw_queries_ = pieces.take(tile_rows * sizes.width);
        shares_ = pieces.take(sizes.width);
    }

    // `keys`: of the task, each of which takes its place. What is summed for the weight begins anew:
    // `sums` are the task's own, of `width` numbers.
    void begin(Lead lead, const Ranges& keys, double* sums) {
        sums_ = sums;
        clear(sums, request_.width);
        for (const Range& range : keys) {
            pack_keys(lead, range, keys_ + range.start * sizes_.width);
            for (std::int64_t key = range.start; key < range.stop; ++key)
                to_powers(keys_ + key * sizes_.width, sizes_.width);
        }
    }

    // From the gradients of a strip's scores, rows of which lie `row` apart. Adds to the gradients of
    // the strip's queries and of all keys, which lack the factors that `factor` gives.
    void add(const Strip& strip, const Additive<Storage>& score, Number* gradients,
             Number* query_gradient, Number* key_gradient) {
        const std::int64_t padded = rounded_up(strip.rows(), tile_rows);
        for (std::int64_t i = strip.rows(); i < padded; ++i)
            clear(gradients + i * sizes_.cells_row, strip.columns());
        strip.for_each_keys(tile_columns, [&](Range keys, std::int64_t column) {
            for (std::int64_t i = 0; i < strip.rows(); i += tile_rows)
                add_tile(strip, score, i, keys, gradients + i * sizes_.cells_row + column,
                         query_gradient + i * sizes_.width,
                         key_gradient + keys.start * sizes_.width);
        });
    }

    // What the sums for a query or key are to be multiplied with.
    static Number factor(const Request& request, std::int64_t d) {
        return 4 * static_cast<const Number*>(request.additive_weight)[d];
    }

   private:
    // Keys at a time: these and their gradients should stay in the first cache.
    static constexpr std::int64_t tile_columns = 64;

    void pack_keys(Lead lead, Range keys, Number* to) const {
        pack(block_of_keys<Storage>(request_, lead, keys), Number(1), to, sizes_.width, keys.size());
    }

    void add_tile(const Strip& strip, const Additive<Storage>& score, std::int64_t row, Range keys,
                  const Number* gradients, Number* query_gradient, Number* key_gradient) {
        std::int32_t places[tile_columns];
        Number halves[tile_columns];
        AdditiveCells<Number> cells = {};
        cells.row = sizes_.width;
        cells.places = places;
        cells.gradients = gradients;
        cells.gradients_row = sizes_.cells_row;
        cells.halves = halves;
        cells.count = find_places(cells, keys.stop - keys.start, places, halves);
        if (cells.count == 0) return;
        cells.query = score.query + row * sizes_.width;
        cells.key = keys_ + keys.start * sizes_.width;
        cells.query_reach = score.query_reach(row);
        cells.key_reach = score.key_reach(keys.start);
        cells.query_gradient = query_gradient;
        cells.key_gradient = key_gradient;
        cells.weight_gradient = shares_;
        clear(shares_, sizes_.width);
        if (score.reach(row, keys) <= additive_reach<Number>) {
            add_additive_gradients<false>(cells);
        } else {
            pack_raw(strip, row, keys);
            cells.raw_query = raw_queries_;
            cells.raw_key = raw_keys_;
            add_additive_gradients<true>(cells);
        }
        for (std::int64_t d = 0; d < request_.width; ++d) sums_[d] -= 2 * double(shares_[d]);
    }

    // The keys of a tile for which any query has a gradient, and half the sum of these.
    static std::int64_t find_places(const AdditiveCells<Number>& cells, std::int64_t keys,
                                    std::int32_t* places, Number* halves) {
        std::int64_t found = 0;
        for (std::int64_t j = 0; j < keys; ++j) {
            bool any = false;
            Number sum = 0;
#pragma GCC unroll 8
            for (int i = 0; i < tile_rows; ++i) {
                const Number gradient = cells.gradients[i * cells.gradients_row + j];
                any |= gradient != 0;
                sum += gradient;
            }
            places[found] = std::int32_t(j);
            halves[found] = sum / 2;
            found += any;
        }
        return found;
    }

    void pack_raw(const Strip& strip, std::int64_t row, Range keys) {
        const std::int64_t first = strip.queries.start + row;
        const Range queries = {first, smaller(first + tile_rows, strip.queries.stop)};
        pack(block_of_queries<Storage>(request_, strip.lead, queries), Number(1), raw_queries_,
             sizes_.width, tile_rows);
        pack_keys(strip.lead, keys, raw_keys_);
    }

    const Request& request_;
    const StripSizes<Number>& sizes_;
    Number *keys_ = nullptr, *raw_keys_ = nullptr, *raw_queries_ = nullptr;
    Number* shares_ = nullptr;  // sums of a tile
    double* sums_ = nullptr;
};

}  // namespace qkv::QKV_ISA
