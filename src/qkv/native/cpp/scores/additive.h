// Gradients of the additive score in the backward pass strip by strip.
#pragma once

#include "additive_gradient.h"
#include "strip_weights.h"

namespace qkv::QKV_ISA {

// The keys of a task as the derivative reads them, and what is summed for the weight.
template <class Storage>
class AdditiveGradients {
   public:
    using Number = Real<Storage>;

    AdditiveGradients(const Request& request, const StripSizes<Number>& sizes,
                      Pieces<Number>& pieces)
        : request_(request), sizes_(sizes) {
        if (!request.additive_weight) return;
        keys_ = pieces.take(sizes.keys * sizes.width);
        raw_keys_ = pieces.take(tile_columns * sizes.width);
        raw_queries_ = pieces.take(tile_rows * sizes.width);
        shares_ = pieces.take(sizes.width);
    }

    // `keys`: of the task, each of which takes its place. What is summed for the weight begins anew: `sums` are the task's own, of
    // `width` numbers.
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
    void add(const Strip& strip, const Scores<Storage>& scores, Number* gradients,
             Number* query_gradient, Number* key_gradient) {
        const std::int64_t padded = rounded_up(strip.rows(), tile_rows);
        for (std::int64_t i = strip.rows(); i < padded; ++i)
            clear(gradients + i * sizes_.cells_row, strip.columns());
        strip.for_each_keys(tile_columns, [&](Range keys, std::int64_t column) {
            for (std::int64_t i = 0; i < strip.rows(); i += tile_rows)
                add_tile(strip, scores, i, keys, gradients + i * sizes_.cells_row + column,
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
        const std::int64_t known = smaller(keys.stop, request_.keys) - keys.start;
        pack(Block<Storage>{request_.key, lead, keys.start, known, request_.width}, Number(1), to,
             sizes_.width, keys.stop - keys.start);
    }

    void add_tile(const Strip& strip, const Scores<Storage>& scores, std::int64_t row, Range keys,
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
        cells.query = scores.query + row * sizes_.width;
        cells.key = keys_ + keys.start * sizes_.width;
        cells.query_reach = scores.query_reach(row);
        cells.key_reach = scores.key_reach(keys.start);
        cells.query_gradient = query_gradient;
        cells.key_gradient = key_gradient;
        cells.weight_gradient = shares_;
        clear(shares_, sizes_.width);
        if (scores.reach(row, keys) <= additive_reach<Number>) {
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
        const std::int64_t rows = smaller<std::int64_t>(tile_rows, strip.rows() - row);
        pack(Block<Storage>{request_.query, strip.lead, strip.queries.start + row, rows,
                            request_.width},
             Number(1), raw_queries_, sizes_.width, tile_rows);
        pack_keys(strip.lead, keys, raw_keys_);
    }

    const Request& request_;
    const StripSizes<Number>& sizes_;
    Number *keys_ = nullptr, *raw_keys_ = nullptr, *raw_queries_ = nullptr;
    Number* shares_ = nullptr;  // sums of a tile
    double* sums_ = nullptr;
};

}  // namespace qkv::QKV_ISA
