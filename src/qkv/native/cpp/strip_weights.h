// The weights of a strip: a few queries of one head against all keys that they see. Where a
// normalizer needs whole rows of scores, or weights have other uses than one product, this is how
// far the matrix is ever built.
#pragma once

#include "bias.h"
#include "dropout.h"
#include "normalizers/normalizer.h"
#include "scores/score.h"
#include "strip_sizes.h"
#include "threads.h"

namespace qkv::QKV_ISA {

// Computes the weights of one strip at a time, in memory of its own.
template <class Storage, class Arithmetic>
class StripWeights {
   public:
    using Number = Real<Storage>;

    // `differentiated`: for the backward pass.
    StripWeights(const Request& request, const StripSizes<Number>& sizes, bool differentiated,
                 Pieces<Number>& pieces)
        : scores(request, sizes, differentiated, Normalizer<Number>::is_sparse(request.normalizer),
                 pieces),
          request_(request),
          sizes_(sizes) {
        cells = pieces.take(sizes.rows * sizes.cells_row);
        candidates_.values = pieces.take(sizes.columns + lanes<Number>);
        candidates_.places = pieces.template take_for<std::int32_t>(sizes.columns + lanes<Number>);
        spare_ = pieces.take(sizes.columns + lanes<Number>);
        if (Normalizer<Number>::is_sparse(request.normalizer))
            listed_ = pieces.template take_for<std::int32_t>(sizes.rows * sizes.columns);
    }

    // Reads the keys of the strips to come: whole panels that hold all of theirs.
    void take_keys(Lead lead, const Ranges& keys) { scores.take_keys(lead, keys); }

    // Fills `cells`, `notes` and what they list. Dropout is left to others. Where `slopes`
    // are given they take those of the soft caps, of each as many as a strip has cells.
    void compute(const Strip& strip, Number* slopes = nullptr) {
        const std::int64_t rows = strip.rows();
        scores.take_queries(strip.lead, strip.queries);
        const Visible visible(request_, strip.lead);
        const Biases<Number> biases(request_, strip.lead);
        strip.for_each_keys(strip_tile_columns, [&](Range keys, std::int64_t column) {
            for (std::int64_t row = 0; row < rows; row += Arithmetic::rows)
                run_tile(strip, visible, biases, row, keys, column, slopes);
        });
        const Normalizer<Number> normalizer(request_, strip.lead);
        is_sparse = Normalizer<Number>::is_sparse(request_.normalizer);
        for (std::int64_t row = 0; row < rows; ++row) {
            notes[row] = normalizer.normalize(cells + row * sizes_.cells_row, strip.columns(),
                                              candidates_, spare_);
            list(row);
        }
    }

    // The columns of the weights of a row that are not 0, notes[row].support of them, if the strip
    // is sparse.
    const std::int32_t* listed(std::int64_t row) const { return listed_ + row * sizes_.columns; }

    Scores<Storage, Arithmetic> scores;
    Number* cells;  // rows of weights
    RowNote notes[StripSizes<Number>::most_rows];
    bool is_sparse;  // whether for each row of the strip all weights that are not 0 are listed

   private:
    // The scores of a step's queries against some keys, the first of which has this column.
    void run_tile(const Strip& strip, const Visible& visible, const Biases<Number>& biases,
                  std::int64_t row, Range keys, std::int64_t column, Number* slopes) {
        const std::int64_t place = row * sizes_.cells_row + column;
        const std::int64_t first = strip.queries.start + row;
        const Range queries = {first, smaller(first + Arithmetic::rows, strip.queries.stop)};
        scores.compute(row, keys, cells + place, sizes_.cells_row);
        if (!biases.empty())
            biases.apply(queries, keys, Number(1), cells + place, sizes_.cells_row,
                         slopes ? slopes + place : nullptr, sizes_.cells());
        visible.hide(queries, keys, cells + place, sizes_.cells_row, -infinity<Number>);
    }

    // Keeps the places that the normalizer found, if they are few.
    void list(std::int64_t row) {
        const std::int64_t found = notes[row].support;
        // What happens to a strip must not depend on a query that is not a number.
        if (found < 0 || (found > sizes_.few && !notes[row].broken)) is_sparse = false;
        if (!is_sparse) return;
        std::int32_t* to = listed_ + row * sizes_.columns;
        for (std::int64_t i = 0; i < found; ++i) to[i] = candidates_.places[i];
    }

    const Request& request_;
    const StripSizes<Number>& sizes_;
    Number* spare_;
    Candidates<Number> candidates_;
    std::int32_t* listed_ = nullptr;
};

}  // namespace qkv::QKV_ISA
