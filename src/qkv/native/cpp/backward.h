// The backward pass: gradients of query, key and value from the output and the logsumexp of the
// forward pass (Dao et al., FlashAttention, 2022, algorithm 4).
//
//   weights = exp(scores - logsumexp)
//   value_gradient = weights^T output_gradient
//   score_gradient = weights * (output_gradient value^T - rowsum(output * output_gradient))
//   query_gradient = scale * score_gradient key,  key_gradient = scale * score_gradient^T query
//
// A task owns some of the key tiles of one key head: nobody else adds to their gradients. The
// gradients of queries get a contribution from every task; each writes its own copy, and the copies
// are added in a fixed order. So results do not depend on which thread was first.
#pragma once

#include "bias_gradient.h"
#include "long_sums.h"
#include "row_terms.h"
#include "seen_tiles.h"
#include "tasks.h"

namespace qkv::QKV_ISA {

template <class Storage>
class Backward {
   public:
    using Number = Real<Storage>;
    static constexpr std::int64_t most_queries = 192, most_keys = 192;  // of a tile

    explicit Backward(const Request& request)
        : request_(request),
          unit_(request.bias_count == 0 ? log2_of_e : 1),
          width_(rounded_up(request.width, lanes<Number>)),
          value_width_(rounded_up(request.value_width, lanes<Number>)),
          padded_queries_(rounded_up(request.queries, tile_rows)),
          tile_queries_(smaller(most_queries, padded_queries_)),
          tile_keys_(smaller(most_keys, rounded_up(request.keys, key_step))),
          // Rows a power of two apart would compete for the same places of the cache.
          cells_row_(tile_keys_ + 16) {
        const std::int64_t tiles = (request.keys + tile_keys_ - 1) / tile_keys_;
        parts_ = parts_of_head(request, tiles, BiasSums<Number>::joins_heads(request));
    }

    void run() const {
        const std::int64_t heads = key_heads(request_);
        const std::int64_t rows = request_.group * padded_queries_;
        Numbers<RowTerms<Number>> terms(heads * rows);
        Numbers<Number> query_gradients(heads * parts_ * rows * width_);
        const Scratches<Scratch, Backward> scratches(*this, request_.threads);
        parallel(request_.threads, query_heads(request_), [&](std::int64_t head, int) {
            find_terms<Storage>(request_, query_head(request_, head),
                                terms.data() + head * padded_queries_);
        });
        const BiasSums<Number> bias_sums(request_, parts_);
        const SeenTiles seen_tiles(request_, tile_queries_, tile_keys_);
        const bool joins_heads = BiasSums<Number>::joins_heads(request_);
        parallel_parts(request_, parts_, joins_heads, [&](std::int64_t task, int thread) {
            const std::int64_t head = task / parts_;
            const Part part = {key_head(request_, head),
                               task,
                               terms.data() + head * rows,
                               query_gradients.data() + task * rows * width_,
                               bias_sums,
                               seen_tiles};
            run_part(part, scratches.of(thread));
        });
        bias_sums.finish();
        parallel(request_.threads, query_heads(request_), [&](std::int64_t i, int) {
            const Lead lead = query_head(request_, i);
            const std::int64_t first = i / request_.group * parts_ * rows;
            finish_queries(lead,
                           query_gradients.data() +
                               (first + lead.member * padded_queries_) * width_,
                           rows * width_);
        });
    }

   private:
    static constexpr std::int64_t panel = panel_width<Number>;
    // Tiles of keys are whole panels as columns and whole register tiles as rows.
    static constexpr std::int64_t key_step = 3 * panel;
    static_assert(key_step % tile_rows == 0 && most_keys % key_step == 0);
    static_assert(most_queries % tile_rows == 0);

    struct Part {
        Lead lead;
        std::int64_t task;
        const RowTerms<Number>* terms;
        Number* query_gradient;
        const BiasSums<Number>& bias_sums;
        const SeenTiles& seen_tiles;
    };

    struct Scratch {
        Scratch(const Backward& of, Pieces<Number>& pieces) {
            key = pieces.take(of.tile_keys_ * of.width_);
            key_panels = pieces.take(of.tile_keys_ * of.request_.width);
            value_panels = pieces.take(of.tile_keys_ * of.request_.value_width);
            key_gradient = pieces.take(of.tile_keys_ * of.width_);
            value_gradient = pieces.take(of.tile_keys_ * of.value_width_);
            query = pieces.take(of.tile_queries_ * of.width_);
            output_gradient = pieces.take(of.tile_queries_ * of.value_width_);
            weights = pieces.take(of.tile_queries_ * of.cells_row_);
            score_gradient = pieces.take(of.tile_queries_ * of.cells_row_);
            slopes = pieces.take(Biases<Number>::slopes(of.request_) * of.slopes_step());
        }
        Number *key, *key_panels, *value_panels, *key_gradient, *value_gradient;  // of a key tile
        Number *query, *output_gradient;                                          // of a query tile
        Number *weights, *score_gradient;                                         // of their cells
        Number* slopes;  // of the soft caps, for a register tile of cells
    };

    std::int64_t slopes_step() const { return tile_rows * cells_row_; }

    // Where a tile of cells lies, and whether what it meets is finite.
    struct Tile {
        Range queries, keys;
        bool finite_keys, finite_queries, finite_output_gradient;
        Range seen[most_queries / tile_rows];  // by each six queries, as columns in whole panels
    };

    void run_part(Part part, Scratch scratch) const {
        const std::int64_t numbers = request_.group * padded_queries_ * width_;
        clear(part.query_gradient, numbers);
        LongSums<Number> long_sums(part.query_gradient, numbers,
                                   (request_.keys / tile_keys_ + parts_) / parts_,
                                   request_.group * query_tiles());
        // Every parts_-th tile, so that each part has its share of a causal mask's corner.
        for (std::int64_t key = part.task % parts_ * tile_keys_; key < request_.keys;
             key += parts_ * tile_keys_) {
            Tile tile;
            tile.keys = {key, smaller(key + tile_keys_, request_.keys)};
            pack_keys(part.lead, tile, scratch);
            Part member = part;
            for (; member.lead.member < request_.group; ++member.lead.member) {
                run_queries(member, tile, long_sums, scratch);
                member.terms += padded_queries_;
                member.query_gradient += padded_queries_ * width_;
            }
            finish_keys(part.lead, tile.keys, scratch);
        }
        for (std::int64_t member = 0; member < request_.group; ++member)
            for (std::int64_t query = 0; query < padded_queries_; query += tile_queries_)
                long_sums.finish(query_tile(member, query), query_numbers(member, query));
    }

    std::int64_t query_tiles() const {
        return (padded_queries_ + tile_queries_ - 1) / tile_queries_;
    }

    // The number of a tile of queries among those of a group of heads, by its first query.
    std::int64_t query_tile(std::int64_t member, std::int64_t query) const {
        return member * query_tiles() + query / tile_queries_;
    }

    // Its numbers among the gradients of queries.
    Range query_numbers(std::int64_t member, std::int64_t query) const {
        const std::int64_t first = member * padded_queries_ + query;
        const std::int64_t rows = smaller(tile_queries_, padded_queries_ - query);
        return {first * width_, (first + rows) * width_};
    }

    void pack_keys(Lead lead, Tile& tile, Scratch scratch) const {
        const std::int64_t first = tile.keys.start, keys = tile.keys.stop - first;
        const Block<Storage> key = {request_.key, lead, first, keys, request_.width};
        const Block<Storage> value = {request_.value, lead, first, keys, request_.value_width};
        tile.finite_keys = pack(key, Number(1), scratch.key, width_, tile_keys_);
        pack_transposed(key, scratch.key_panels);
        pack_transposed(value, scratch.value_panels);
        clear(scratch.key_gradient, tile_keys_ * width_);
        clear(scratch.value_gradient, tile_keys_ * value_width_);
    }

    // The queries of one head that may see any of them against one tile of keys.
    void run_queries(Part part, Tile& tile, LongSums<Number>& long_sums, Scratch scratch) const {
        const Visible visible(request_, part.lead);
        const Biases<Number> biases(request_, part.lead);
        part.seen_tiles.for_each(part.lead, tile.keys.start, [&](Range queries) {
            tile.queries = queries;
            if (!find_seen(visible, tile)) return;
            pack_queries(part.lead, tile, scratch);
            for (std::int64_t row = 0; row < queries.size(); row += tile_rows)
                run_cells(visible, biases, part, tile, row, scratch);
            add_query_gradient(tile, part.query_gradient + queries.start * width_, scratch);
            const std::int64_t member = part.lead.member;
            long_sums.added(query_tile(member, queries.start), query_numbers(member, queries.start));
            add_key_gradients(tile, scratch);
        });
    }

    // Which columns each six queries see. Returns whether any are seen.
    static bool find_seen(const Visible& visible, Tile& tile) {
        bool any = false;
        for (std::int64_t query = tile.queries.start; query < tile.queries.stop; query += tile_rows) {
            const Range queries = {query, smaller(query + tile_rows, tile.queries.stop)};
            const Range keys = visible.span(queries, tile.keys);
            Range& seen = tile.seen[(query - tile.queries.start) / tile_rows];
            seen = {0, 0};
            if (keys.empty() || !visible.any(queries, keys)) continue;
            seen = {(keys.start - tile.keys.start) / panel * panel,
                    rounded_up(keys.stop - tile.keys.start, panel)};
            any = true;
        }
        return any;
    }

    void pack_queries(Lead lead, Tile& tile, Scratch scratch) const {
        const std::int64_t first = tile.queries.start, rows = tile.queries.stop - first;
        const std::int64_t padded = rounded_up(rows, tile_rows);
        tile.finite_queries =
            pack(Block<Storage>{request_.query, lead, first, rows, request_.width},
                 Number(request_.scale * unit_), scratch.query, width_, padded);
        tile.finite_output_gradient =
            pack(Block<Storage>{request_.output_gradient, lead, first, rows, request_.value_width},
                 Number(1), scratch.output_gradient, value_width_, padded);
    }

    // The weights and the gradients of the scores of six queries.
    void run_cells(const Visible& visible, const Biases<Number>& biases, const Part& part,
                   const Tile& tile, std::int64_t row, Scratch scratch) const {
        const Range seen = tile.seen[row / tile_rows];
        const std::int64_t count = seen.stop - seen.start;
        Number* weights = scratch.weights + row * cells_row_;
        Number* gradients = scratch.score_gradient + row * cells_row_;
        multiply(weights + seen.start, cells_row_,
                 Strided<Number>{scratch.query + row * width_, width_, 1},
                 scratch.key_panels + seen.start * request_.width, request_.width, count);
        multiply(gradients + seen.start, cells_row_,
                 Strided<Number>{scratch.output_gradient + row * value_width_, value_width_, 1},
                 scratch.value_panels + seen.start * request_.value_width, request_.value_width,
                 count);
        const std::int64_t first = tile.queries.start + row, key = tile.keys.start + seen.start;
        const Range queries = {first, smaller(first + tile_rows, tile.queries.stop)};
        const Range keys = {key, key + count};
        if (!biases.empty())
            biases.apply(queries, keys, Number(log2_of_e), weights + seen.start, cells_row_,
                         scratch.slopes, slopes_step());
        visible.hide(queries, keys, weights + seen.start, cells_row_, -infinity<Number>);
        Number* of_tile = gradients + seen.start;
        for (int i = 0; i < tile_rows; ++i) {
            // Rows beyond the last query see nothing.
            const Range known = first + i < queries.stop ? seen : Range{0, 0};
            part.terms[first + i].differentiate(known.stop - known.start, weights + known.start,
                                                gradients + known.start);
            clear_unseen(known, weights);
            clear_unseen(known, gradients);
            weights += cells_row_, gradients += cells_row_;
        }
        if (!biases.empty())
            biases.differentiate(queries, keys, of_tile, cells_row_, scratch.slopes, slopes_step(),
                                 [&](int i, const BiasRow& cut, const Number* of_row) {
                                     part.bias_sums.add(part.task, biases, i, cut, of_row);
                                 });
    }

    void clear_unseen(Range seen, Number* row) const {
        clear(row, seen.start);
        clear(row + seen.stop, tile_keys_ - seen.stop);
    }

    void add_query_gradient(const Tile& tile, Number* query_gradient, Scratch scratch) const {
        const std::int64_t rows = tile.queries.stop - tile.queries.start;
        for (std::int64_t row = 0; row < rows; row += tile_rows) {
            const Range seen = tile.seen[row / tile_rows];
            if (seen.empty()) continue;
            const Number* gradients = scratch.score_gradient + row * cells_row_ + seen.start;
            add(tile.finite_keys, query_gradient + row * width_,
                Strided<Number>{gradients, cells_row_, 1}, scratch.key + seen.start * width_,
                seen.size(), width_);
        }
    }

    void add_key_gradients(const Tile& tile, Scratch scratch) const {
        for (std::int64_t key = 0; key < tile.keys.stop - tile.keys.start; key += tile_rows) {
            const Range rows = rows_that_see(tile, {key, key + tile_rows});
            if (rows.empty()) continue;
            const std::int64_t first_cell = rows.start * cells_row_ + key;
            add(tile.finite_output_gradient, scratch.value_gradient + key * value_width_,
                Strided<Number>{scratch.weights + first_cell, 1, cells_row_},
                scratch.output_gradient + rows.start * value_width_, rows.size(), value_width_);
            add(tile.finite_queries, scratch.key_gradient + key * width_,
                Strided<Number>{scratch.score_gradient + first_cell, 1, cells_row_},
                scratch.query + rows.start * width_, rows.size(), width_);
        }
    }

    // The rows of a tile between the first and the last that see any of these columns.
    static Range rows_that_see(const Tile& tile, Range columns) {
        Range found = {INT64_MAX, 0};
        const std::int64_t rows = tile.queries.stop - tile.queries.start;
        for (std::int64_t row = 0; row < rows; row += tile_rows) {
            if (intersection(tile.seen[row / tile_rows], columns).empty()) continue;
            found = {smaller(found.start, row), row + tile_rows};
        }
        return found;
    }

    void finish_keys(Lead lead, Range keys, Scratch scratch) const {
        for (std::int64_t key = keys.start; key < keys.stop; ++key) {
            const std::int64_t i = key - keys.start;
            Storage* of_key = row_of<Storage>(request_.key_gradient, lead, key);
            for (std::int64_t j = 0; j < request_.width; ++j)
                narrow(scratch.key_gradient[i * width_ + j] * Number(1 / unit_), of_key + j);
            Storage* of_value = row_of<Storage>(request_.value_gradient, lead, key);
            for (std::int64_t j = 0; j < request_.value_width; ++j)
                narrow(scratch.value_gradient[i * value_width_ + j], of_value + j);
        }
    }

    // Adds the parts' gradients of one head's queries, `step` apart, in the order of the parts.
    void finish_queries(Lead lead, const Number* gradients, std::int64_t step) const {
        for (std::int64_t i = 0; i < request_.queries; ++i) {
            Storage* to = row_of<Storage>(request_.query_gradient, lead, i);
            for (std::int64_t j = 0; j < request_.width; ++j) {
                Number total = 0;
                for (std::int64_t part = 0; part < parts_; ++part)
                    total += gradients[part * step + i * width_ + j];
                narrow(total * Number(request_.scale), to + j);
            }
        }
    }

    const Request& request_;
    double unit_;  // queries are scaled by it beside the scale: scores are in powers of two or of e
    std::int64_t width_, value_width_;  // padded to whole vectors
    std::int64_t padded_queries_;       // of one head, padded to whole register tiles
    std::int64_t tile_queries_, tile_keys_, cells_row_;
    std::int64_t parts_;  // into which the key tiles of one head are split
};

}  // namespace qkv::QKV_ISA
