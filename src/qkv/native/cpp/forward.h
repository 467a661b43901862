// The forward pass: scores, softmax and the sum of values, one tile at a time, never the matrix.
//
// A task is a block of queries of one head. It walks over the keys in tiles and keeps for each
// query the largest score so far, the sum of the weights relative to it, and the weighted sum of
// the values (Milakov, Gimelshein 2018; Dao et al., FlashAttention, 2022, algorithm 1).
#pragma once

#include "arithmetic.h"
#include "bias.h"
#include "long_sums.h"
#include "softmax.h"
#include "tasks.h"

namespace qkv::QKV_ISA {

template <class Storage, class Arithmetic = Widened<Storage>>
class Forward {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;
    static constexpr std::int64_t tile_keys = 256;
    static constexpr std::int64_t most_rows = 768;

    explicit Forward(const Request& request)
        : request_(request),
          unit_(request.scale * (request.bias_count == 0 ? log2_of_e : 1)),
          depth_(Arithmetic::operands(request.width)),
          query_row_(rounded_up(depth_, lanes<Number>)),
          value_width_(rounded_up(request.value_width, lanes<Number>)),
          tile_(smaller(tile_keys, rounded_up(request.keys, panel_width<Number>))),
          // Rows a power of two apart would compete for the same places of the cache.
          cells_row_(tile_ + lanes<Number>),
          weights_row_(Arithmetic::in_place ? cells_row_ : Arithmetic::operands(cells_row_)) {
        // Enough blocks that threads finish together, each large enough to pay for its packing.
        const std::int64_t least = request.threads == 1 ? 1 : 8 * request.threads;
        rows_ = smaller(most_rows, request.queries);
        while (rows_ > 96 && query_heads(request) * blocks() < least) rows_ = rows_ / 2;
        rows_ = rounded_up(rows_, step);
    }

    void run() const {
        const std::int64_t heads = query_heads(request_);
        const Scratches<Scratch, Forward> scratches(*this, request_.threads);
        parallel(request_.threads, blocks() * heads, [&](std::int64_t task, int thread) {
            // The last queries first: under a causal mask they have the most to do.
            const std::int64_t block = blocks() - 1 - task / heads;
            Scratch mine = scratches.of(thread);
            [[maybe_unused]] const typename Arithmetic::Session session;
            run_block(query_head(request_, task % heads), block * rows_, mine);
        });
    }

   private:
    static constexpr int step = Arithmetic::rows;  // queries that are computed at a time

    struct Scratch {
        Scratch(const Forward& of, Pieces<Number>& pieces) {
            query = pieces.template take_for<Operand>(of.rows_ * of.query_row_);
            key = pieces.template take_for<Operand>(of.tile_ * of.depth_);
            value = pieces.template take_for<Operand>(Arithmetic::operands(of.tile_) *
                                                      of.value_width_);
            scores = pieces.take(of.cells_row_ * step);
            weights = {Arithmetic::in_place
                           ? reinterpret_cast<Operand*>(scores)
                           : pieces.template take_for<Operand>(of.weights_row_ * step),
                       of.weights_row_};
            output = pieces.take(of.rows_ * of.value_width_);
            states = pieces.template take_for<RowState<Number>>(of.rows_);
            if (!of.is_long()) return;
            long_output = pieces.template take_for<double>(of.rows_ * of.value_width_);
            long_states = pieces.template take_for<RowState<double>>(of.rows_);
        }
        Operand *query, *key, *value;
        bool finite_queries, finite_keys, finite_values;  // of all values so far
        Number* scores;
        Weights<Operand> weights;
        Number* output;             // the sums so far
        RowState<Number>* states;   // of each row
        // Where there are many keys, the same of all but the last tiles.
        double* long_output = nullptr;
        RowState<double>* long_states = nullptr;
    };

    bool is_long() const { return request_.keys > additions_in_a_row * tile_; }

    std::int64_t blocks() const { return (request_.queries + rows_ - 1) / rows_; }

    void run_block(Lead lead, std::int64_t first, Scratch& scratch) const {
        const std::int64_t rows = smaller(rows_, request_.queries - first);
        const std::int64_t padded = rounded_up(rows, step);
        const Biases<Number> biases(request_, lead);
        scratch.finite_queries =
            Arithmetic::pack_rows({request_.query, lead, first, rows, request_.width},
                                  Arithmetic::of_queries(unit_), scratch.query, query_row_, padded);
        for (std::int64_t i = 0; i < padded; ++i) scratch.states[i] = {};
        clear(scratch.output, padded * value_width_);
        if (is_long()) {
            for (std::int64_t i = 0; i < padded; ++i) scratch.long_states[i] = {};
            clear(scratch.long_output, padded * value_width_);
        }

        const Visible visible(request_, lead);
        scratch.finite_values = true;
        std::int64_t tiles = 0;
        // Masks in bits want the lanes of a vector in one or two whole bytes.
        for (const Range& range : visible.keys_of({first, first + rows}, panel_width<Number>))
            for (std::int64_t key = range.start; key < range.stop; key += tile_) {
                const Range tile = {key, smaller(smaller(key + tile_, range.stop), request_.keys)};
                run_keys(lead, visible, biases, {first, first + rows}, tile, scratch);
                if (is_long() && ++tiles % additions_in_a_row == 0) move_rows(rows, scratch);
            }
        if (is_long()) {
            move_rows(rows, scratch);
            finish(lead, first, rows, scratch.long_states, scratch.long_output);
        } else {
            finish(lead, first, rows, scratch.states, scratch.output);
        }
    }

    // The queries of a block against the keys of one tile.
    void run_keys(Lead lead, const Visible& visible, const Biases<Number>& biases, Range block,
                  Range tile, Scratch& scratch) const {
        bool packed = false;
        for (std::int64_t first = block.start; first < block.stop; first += step) {
            const Range queries = {first, smaller(first + step, block.stop)};
            const Range keys = visible.span(queries, tile);
            if (keys.empty() || !visible.any(queries, keys)) continue;
            if (!packed) pack_tile(lead, tile, scratch);
            packed = true;
            run_tile(visible, biases, queries, keys, tile, first - block.start, scratch);
        }
    }

    void pack_tile(Lead lead, Range tile, Scratch& scratch) const {
        const std::int64_t keys = tile.stop - tile.start;
        const std::int64_t columns = rounded_up(keys, Arithmetic::columns_at_once);
        scratch.finite_keys = Arithmetic::pack_panels(
            {request_.key, lead, tile.start, keys, request_.width}, scratch.key, columns, depth_);
        scratch.finite_values &= Arithmetic::pack_terms(
            {request_.value, lead, tile.start, keys, request_.value_width}, scratch.value,
            value_width_, columns);
    }

    // Some queries against the keys of one tile.
    void run_tile(const Visible& visible, const Biases<Number>& biases, Range queries, Range keys,
                  Range tile, std::int64_t row, Scratch& scratch) const {
        const Range columns = columns_of<Arithmetic>(keys, tile.start);
        const std::int64_t count = columns.size();
        Number* scores = scratch.scores;
        Arithmetic::multiply(scratch.finite_queries && scratch.finite_keys, scores, cells_row_,
                             {scratch.query + row * query_row_, query_row_, 1},
                             scratch.key, depth_, columns);
        const std::int64_t first = tile.start + columns.start;
        Number unit = Number(Arithmetic::of_scores(unit_));
        if (!biases.empty()) {
            scale_rows<step>(scores, cells_row_, count, unit);
            biases.apply(queries, {first, first + count}, Number(log2_of_e), scores, cells_row_);
            unit = 1;
        }
        visible.hide(queries, {first, first + count}, scores, cells_row_, -infinity<Number>);
        Number factors[step];
        constexpr int together = Arithmetic::rows_weighed;
        for (int i = 0; i < step; i += together)
            weigh<together, Arithmetic>(scores + i * cells_row_, cells_row_,
                                        scratch.weights.from_row(i), count, unit,
                                        scratch.states + row + i, factors + i);
        Arithmetic::update(scratch.finite_values, scratch.output + row * value_width_, factors,
                           {scratch.weights.data, weights_row_, 1},
                           scratch.value + Arithmetic::operands(columns.start) * value_width_,
                           Arithmetic::operands(count), value_width_);
    }

    void move_rows(std::int64_t rows, Scratch& scratch) const {
        for (std::int64_t i = 0; i < rows; ++i)
            move_to(scratch.long_states[i], scratch.long_output + i * value_width_,
                    scratch.states[i], scratch.output + i * value_width_, value_width_);
    }

    template <class Real>
    void finish(Lead lead, std::int64_t first, std::int64_t rows, const RowState<Real>* states,
                const Real* sums) const {
        for (std::int64_t i = 0; i < rows; ++i) {
            const Real inverse = states[i].inverse();
            Number* output = row_of<Number>(request_.output, lead, first + i);
            for (std::int64_t j = 0; j < request_.value_width; ++j)
                output[j] = Number(sums[i * value_width_ + j] * inverse);
            if (request_.logsumexp.data)
                *row_of<double>(request_.logsumexp, lead, first + i) = states[i].logsumexp();
        }
    }

    const Request& request_;
    double unit_;                       // of scores: powers of two, where there are no biases
    std::int64_t depth_;                    // operands of a key
    std::int64_t query_row_, value_width_;  // of a query and a value, padded to whole vectors
    std::int64_t tile_;                     // keys of a tile, in whole panels
    std::int64_t cells_row_, weights_row_;  // of a row of scores, and of weights
    std::int64_t rows_;                 // queries of a block, in whole steps
};

}  // namespace qkv::QKV_ISA
