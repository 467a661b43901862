// The forward pass strip by strip: for every normalizer, and for other uses of the weights than the
// product with the values.
#pragma once

#include "sparse.h"
#include "statistics/sweep.h"
#include "strip_weights.h"

namespace qkv::QKV_ISA {

template <class Storage, class Arithmetic = Widened<Storage>>
class StripForward {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;

    explicit StripForward(const Request& request)
        : request_(request), sizes_(request, step, 1), sweep_(request, sizes_) {}

    void run() const {
        const Scratches<Scratch, StripForward> scratches(*this, request_.threads);
        parallel_parts(request_, sizes_.parts, false, [&](std::int64_t task, int thread) {
            Scratch mine = scratches.of(thread);
            run_task(key_head(request_, task / sizes_.parts), task % sizes_.parts, mine);
        });
        sweep_.finish();
    }

   private:
    static constexpr int step = Arithmetic::rows;  // queries that are computed at a time
    // Operands of a row of weights that is made to terms.
    static constexpr std::int64_t terms_row = Arithmetic::operands(strip_tile_columns);

    struct Scratch {
        Scratch(const StripForward& of, Pieces<Number>& pieces)
            : weights(of.request_, of.sizes_, false, pieces),
              sweep(of.sweep_, pieces),
              values(of.sizes_, of.sizes_.value_width,
                     Normalizer<Number>::is_sparse(of.request_.normalizer), pieces),
              output(pieces.take(of.sizes_.rows * of.sizes_.value_width)),
              numbers(pieces.take(of.sizes_.columns)),
              places(pieces.template take_for<std::int32_t>(of.sizes_.columns)) {
            if constexpr (!Arithmetic::rows_are_terms)
                terms = pieces.template take_for<Operand>(step * terms_row);
        }
        StripWeights<Storage, Arithmetic> weights;
        typename Sweep<Storage>::Scratch sweep;
        KeyTerms<Storage, Arithmetic> values;
        Operand* terms = nullptr;  // some weights, where they are no terms
        Number* output;   // of a strip
        Number* numbers;  // of a row that are listed
        std::int32_t* places;  // their keys
    };

    void run_task(Lead lead, std::int64_t part, Scratch& scratch) const {
        const Ranges keys = sizes_.keys_of(request_, lead, part);
        sweep_.begin(lead, part, keys);
        pack_keys(lead, keys, scratch);
        sizes_.for_each_strip(request_, lead, part, [&](const Strip& strip) {
            if (ends_early()) return;
            [[maybe_unused]] const typename Arithmetic::Session session;
            scratch.weights.compute(strip);
            drop(strip, scratch);
            sweep_.take(strip, scratch.weights, part, scratch.sweep);
            if (request_.logsumexp.data) write_logsumexp(strip, scratch);
            if (request_.output.data) write_output(strip, scratch);
        });
    }

    void pack_keys(Lead lead, const Ranges& keys, Scratch& scratch) const {
        scratch.weights.take_keys(lead, keys);
        scratch.values.finite = true;
        if (!request_.output.data) return;
        for (const Range& range : keys)
            scratch.values.take(block_of_values<Storage>(request_, lead, range), range);
    }

    void drop(const Strip& strip, Scratch& scratch) const {
        if (!request_.dropout_states.data) return;
        for (std::int64_t row = 0; row < strip.rows(); ++row)
            RowDropout<Number>(request_, strip.lead, strip.queries.start + row)
                .apply(scratch.weights.cells + row * sizes_.cells_row, strip);
    }

    void write_output(const Strip& strip, Scratch& scratch) const {
        const std::int64_t width = sizes_.value_width;
        clear(scratch.output, rounded_up(strip.rows(), step) * width);
        if (scratch.weights.is_sparse)
            for (std::int64_t row = 0; row < strip.rows(); ++row)
                add_product(scratch.output + row * width, listed(strip, row, scratch),
                            scratch.values.numbers, width);
        else
            add_dense(strip, scratch);
        for (std::int64_t row = 0; row < strip.rows(); ++row) {
            Number* output =
                row_of<Number>(request_.output, strip.lead, strip.queries.start + row);
            for (std::int64_t j = 0; j < request_.value_width; ++j)
                output[j] = scratch.output[row * width + j];
        }
    }

    void add_dense(const Strip& strip, Scratch& scratch) const {
        constexpr std::int64_t columns = strip_tile_columns;
        const std::int64_t width = sizes_.value_width;
        LongSums<Number> long_sums(scratch.output, rounded_up(strip.rows(), step) * width,
                                   (strip.columns() + columns - 1) / columns);
        strip.for_each_keys(columns, [&](Range keys, std::int64_t column) {
            for (std::int64_t row = 0; row < strip.rows(); row += step)
                Arithmetic::add(scratch.values.finite, scratch.output + row * width,
                                weight_terms(row, column, keys.size(), scratch),
                                scratch.values.from(keys.start),
                                Arithmetic::operands(keys.size()), width);
            long_sums.added();
        });
        long_sums.finish();
    }

    // Weights of a step's queries, so many columns from this one on, as terms of sums over keys.
    Strided<Operand> weight_terms(std::int64_t row, std::int64_t column, std::int64_t count,
                                  Scratch& scratch) const {
        const Number* weights = scratch.weights.cells + row * sizes_.cells_row + column;
        if constexpr (Arithmetic::rows_are_terms) {
            return {weights, sizes_.cells_row, 1};
        } else {
            for (int i = 0; i < step; ++i)
                for (std::int64_t j = 0; j < count; j += lanes<Number>)
                    Arithmetic::store_weights(scratch.terms + i * terms_row, j,
                                              load(weights + i * sizes_.cells_row + j));
            return {scratch.terms, terms_row, 1};
        }
    }

    // The weights of a row that are not 0, and their keys.
    Sparse<Number> listed(const Strip& strip, std::int64_t row, Scratch& scratch) const {
        const Number* weights = scratch.weights.cells + row * sizes_.cells_row;
        const std::int32_t* places = scratch.weights.listed(row);
        const std::int64_t count = scratch.weights.notes[row].support;
        for (std::int64_t i = 0; i < count; ++i) scratch.numbers[i] = weights[places[i]];
        strip.keys.to_keys(places, count, scratch.places);
        return {scratch.numbers, scratch.places, count};
    }

    void write_logsumexp(const Strip& strip, Scratch& scratch) const {
        for (std::int64_t row = 0; row < strip.rows(); ++row)
            *row_of<double>(request_.logsumexp, strip.lead, strip.queries.start + row) =
                scratch.weights.notes[row].logsumexp;
    }

    const Request& request_;
    const StripSizes<Number> sizes_;
    const Sweep<Storage> sweep_;
};

}  // namespace qkv::QKV_ISA
