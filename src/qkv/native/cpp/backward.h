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

#include <type_traits>

#include "arithmetic.h"
#include "bias_gradient.h"
#include "long_sums.h"
#include "row_terms.h"
#include "seen_tiles.h"
#include "tasks.h"

namespace qkv::QKV_ISA {

template <class Storage, class Arithmetic = Widened<Storage>>
class Backward {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;
    static constexpr std::int64_t most_rows = Arithmetic::most_rows;  // queries and keys of a tile

    explicit Backward(const Request& request)
        : request_(request),
          unit_(request.scale * (request.bias_count == 0 ? log2_of_e : 1)),
          depth_(Arithmetic::operands(request.width)),
          value_depth_(Arithmetic::operands(request.value_width)),
          query_row_(rounded_up(depth_, lanes<Number>)),
          gradient_row_(rounded_up(value_depth_, lanes<Number>)),
          width_(rounded_up(request.width, lanes<Number>)),
          value_width_(rounded_up(request.value_width, lanes<Number>)),
          padded_queries_(rounded_up(request.queries, step)),
          tile_queries_(smaller(most_rows, padded_queries_)),
          tile_keys_(smaller(most_rows, columns_for(request.keys))),
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
        const BiasSums<Number> bias_sums(request_, parts_);
        const SeenTiles seen_tiles(request_, tile_queries_, tile_keys_);
        const bool joins_heads = BiasSums<Number>::joins_heads(request_);
        // Of one head of queries, before its parts and after them.
        const auto begin = [&](std::int64_t i, int) {
            find_terms<Storage>(request_, query_head(request_, i),
                                terms.data() + i * padded_queries_);
        };
        const auto finish = [&](std::int64_t i, int) {
            const Lead lead = query_head(request_, i);
            const std::int64_t first = i / request_.group * parts_ * rows;
            finish_queries(lead,
                           query_gradients.data() +
                               (first + lead.member * padded_queries_) * width_,
                           rows * width_);
        };
        const auto run_task = [&](std::int64_t task, int thread) {
            const std::int64_t head = task / parts_;
            const Part part = {key_head(request_, head),
                               task,
                               terms.data() + head * rows,
                               query_gradients.data() + task * rows * width_,
                               bias_sums,
                               seen_tiles};
            [[maybe_unused]] const typename Arithmetic::Session session;
            run_part(part, scratches.of(thread));
        };
        if (parts_ == 1 && !joins_heads) {
            // In one go, for threads wait for each other after each.
            parallel(request_.threads, heads, [&](std::int64_t head, int thread) {
                const Range own = {head * request_.group, (head + 1) * request_.group};
                for (std::int64_t i = own.start; i < own.stop; ++i) begin(i, thread);
                run_task(head, thread);
                for (std::int64_t i = own.start; i < own.stop; ++i) finish(i, thread);
            });
            bias_sums.finish();
            return;
        }
        parallel(request_.threads, query_heads(request_), begin);
        parallel_parts(request_, parts_, joins_heads, run_task);
        bias_sums.finish();
        parallel(request_.threads, query_heads(request_), finish);
    }

   private:
    static constexpr int step = Arithmetic::rows;  // queries that are computed at a time
    static constexpr std::int64_t panel = panel_width<Number>;
    static_assert(most_rows % step == 0 && most_rows % panel == 0);

    // So many columns hold the cells of some keys, which are whole steps as rows.
    static std::int64_t columns_for(std::int64_t keys) {
        return rounded_up(rounded_up(keys, step), Arithmetic::columns_at_once);
    }

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
            const auto operands = [&](std::int64_t count) {
                return pieces.template take_for<Operand>(count);
            };
            const auto terms = [](std::int64_t count) { return Arithmetic::operands(count); };
            key_terms = operands(terms(of.tile_keys_) * of.width_);
            key_panels = operands(rounded_up(of.tile_keys_, panel) * of.depth_);
            value_panels = operands(rounded_up(of.tile_keys_, panel) * of.value_depth_);
            key_gradient = pieces.take(of.tile_keys_ * of.width_);
            value_gradient = pieces.take(of.tile_keys_ * of.value_width_);
            query = query_terms = operands(of.tile_queries_ * of.query_row_);
            output_gradient = output_gradient_terms = operands(of.tile_queries_ * of.gradient_row_);
            cells = cells_beside<Arithmetic>(pieces.take(of.tile_queries_ * of.cells_row_),
                                             of.tile_queries_, of.tile_keys_, of.cells_row_,
                                             pieces);
            slopes = pieces.take(Biases<Number>::slopes(of.request_) * of.slopes_step());
            if constexpr (Arithmetic::rows_are_terms) return;
            query_terms = operands(terms(of.tile_queries_) * of.width_);
            output_gradient_terms = operands(terms(of.tile_queries_) * of.value_width_);
        }
        // Of a key tile: its rows as terms of sums over keys; its panels.
        Operand *key_terms, *key_panels, *value_panels;
        Number *key_gradient, *value_gradient;
        // Of a query tile: its rows; the same as terms of sums over queries.
        Operand *query, *output_gradient, *query_terms, *output_gradient_terms;
        Cells<Operand> cells;  // of both
        Number* slopes;        // of the soft caps, for some rows of cells
    };

    std::int64_t slopes_step() const { return step * cells_row_; }

    // Where a tile of cells lies, and whether what it meets is finite.
    struct Tile {
        Range queries, keys;
        std::int64_t columns;  // that the keys take
        bool finite_keys, finite_values, finite_queries, finite_output_gradient;
        Range seen[most_rows / step];  // by each step, as columns
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
        tile.columns = columns_for(keys);
        tile.finite_keys = Arithmetic::pack_terms(key, scratch.key_terms, width_, tile.columns);
        Arithmetic::pack_panels(key, scratch.key_panels, tile.columns, depth_);
        tile.finite_values =
            Arithmetic::pack_panels(value, scratch.value_panels, tile.columns, value_depth_);
        clear(scratch.key_gradient, tile.columns * width_);
        clear(scratch.value_gradient, tile.columns * value_width_);
    }

    // The queries of one head that may see any of them against one tile of keys.
    void run_queries(Part part, Tile& tile, LongSums<Number>& long_sums, Scratch scratch) const {
        const Visible visible(request_, part.lead);
        const Biases<Number> biases(request_, part.lead);
        part.seen_tiles.for_each(part.lead, tile.keys.start, [&](Range queries) {
            // What handles a signal might take the registers that some sessions hold.
            if (std::is_trivially_destructible_v<typename Arithmetic::Session> && ends_early())
                return;
            tile.queries = queries;
            if (!find_seen(visible, tile)) return;
            pack_queries(part.lead, tile, scratch);
            for (std::int64_t row = 0; row < queries.size(); row += step)
                run_cells(visible, biases, part, tile, row, scratch);
            add_query_gradient(tile, part.query_gradient + queries.start * width_, scratch);
            const std::int64_t member = part.lead.member;
            long_sums.added(query_tile(member, queries.start), query_numbers(member, queries.start));
            add_key_gradients(tile, scratch);
        });
    }

    // Which columns each step of queries sees. Returns whether any are seen.
    static bool find_seen(const Visible& visible, Tile& tile) {
        bool any = false;
        for (std::int64_t query = tile.queries.start; query < tile.queries.stop; query += step) {
            const Range queries = {query, smaller(query + step, tile.queries.stop)};
            const Range keys = visible.span(queries, tile.keys);
            Range& seen = tile.seen[(query - tile.queries.start) / step];
            seen = {0, 0};
            if (keys.empty() || !visible.any(queries, keys)) continue;
            seen = columns_of<Arithmetic>(keys, tile.keys.start);
            any = true;
        }
        return any;
    }

    void pack_queries(Lead lead, Tile& tile, Scratch scratch) const {
        const std::int64_t first = tile.queries.start, rows = tile.queries.stop - first;
        const std::int64_t padded = rounded_up(rows, step);
        const Block<Storage> query = {request_.query, lead, first, rows, request_.width};
        const Block<Storage> gradient = {request_.output_gradient, lead, first, rows,
                                         request_.value_width};
        tile.finite_queries = Arithmetic::pack_rows(query, Arithmetic::of_queries(unit_),
                                                    scratch.query, query_row_, padded);
        tile.finite_output_gradient =
            Arithmetic::pack_rows(gradient, 1, scratch.output_gradient, gradient_row_, padded);
        if constexpr (Arithmetic::rows_are_terms) return;
        Arithmetic::pack_terms(query, scratch.query_terms, width_, padded);
        Arithmetic::pack_terms(gradient, scratch.output_gradient_terms, value_width_, padded);
    }

    // The weights and the gradients of the scores of some queries.
    void run_cells(const Visible& visible, const Biases<Number>& biases, const Part& part,
                   const Tile& tile, std::int64_t row, Scratch scratch) const {
        const Range seen = tile.seen[row / step];
        const std::int64_t count = seen.stop - seen.start;
        Number* weights = scratch.cells.weights + row * cells_row_;
        Number* gradients = scratch.cells.gradients + row * cells_row_;
        Arithmetic::multiply(tile.finite_queries && tile.finite_keys, weights + seen.start,
                             cells_row_, {scratch.query + row * query_row_, query_row_, 1},
                             scratch.key_panels, depth_, seen);
        Arithmetic::multiply(tile.finite_output_gradient && tile.finite_values,
                             gradients + seen.start, cells_row_,
                             {scratch.output_gradient + row * gradient_row_, gradient_row_, 1},
                             scratch.value_panels, value_depth_, seen);
        const std::int64_t first = tile.queries.start + row, key = tile.keys.start + seen.start;
        const Range queries = {first, smaller(first + step, tile.queries.stop)};
        const Range keys = {key, key + count};
        Number unit = Number(Arithmetic::of_scores(unit_));
        if (!biases.empty()) {
            scale_rows<step>(weights + seen.start, cells_row_, count, unit);
            biases.apply(queries, keys, Number(log2_of_e), weights + seen.start, cells_row_,
                         scratch.slopes, slopes_step());
            unit = 1;
        }
        visible.hide(queries, keys, weights + seen.start, cells_row_, -infinity<Number>);
        Number* of_tile = gradients + seen.start;
        for (int i = 0; i < step; ++i) {
            // Rows beyond the last query see nothing.
            const Range known = first + i < queries.stop ? seen : Range{0, 0};
            part.terms[first + i].differentiate(known.stop - known.start, unit,
                                                weights + known.start, gradients + known.start);
            clear_unseen(known, tile.columns, weights);
            clear_unseen(known, tile.columns, gradients);
            weights += cells_row_, gradients += cells_row_;
        }
        if (!biases.empty())
            biases.differentiate(queries, keys, of_tile, cells_row_, scratch.slopes, slopes_step(),
                                 [&](int i, const BiasRow& cut, const Number* of_row) {
                                     part.bias_sums.add(part.task, biases, i, cut, of_row);
                                 });
        Arithmetic::make_terms(scratch.cells, row, tile.columns, tile_queries_);
    }

    static void clear_unseen(Range seen, std::int64_t columns, Number* row) {
        clear(row, seen.start);
        clear(row + seen.stop, columns - seen.stop);
    }

    void add_query_gradient(const Tile& tile, Number* query_gradient, Scratch scratch) const {
        const std::int64_t rows = tile.queries.stop - tile.queries.start;
        for (std::int64_t row = 0; row < rows; row += step) {
            const Range seen = tile.seen[row / step];
            if (seen.empty()) continue;
            const std::int64_t first = Arithmetic::operands(seen.start);
            const std::int64_t operands_row = scratch.cells.operands_row;
            Arithmetic::add(tile.finite_keys, query_gradient + row * width_,
                            {scratch.cells.gradient_rows + row * operands_row + first, operands_row, 1},
                            scratch.key_terms + first * width_, Arithmetic::operands(seen.size()),
                            width_);
        }
    }

    void add_key_gradients(const Tile& tile, Scratch scratch) const {
        for (std::int64_t key = 0; key < tile.keys.stop - tile.keys.start; key += step) {
            const Range rows = rows_that_see(tile, {key, key + step});
            if (rows.empty()) continue;
            const std::int64_t first = Arithmetic::operands(rows.start);
            const std::int64_t count = Arithmetic::operands(rows.size());
            const auto columns = [&](const Operand* cells) {
                return Arithmetic::columns(cells, rows.start, key, cells_row_, tile_queries_);
            };
            Arithmetic::add(tile.finite_output_gradient,
                            scratch.value_gradient + key * value_width_,
                            columns(scratch.cells.weight_columns),
                            scratch.output_gradient_terms + first * value_width_, count,
                            value_width_);
            Arithmetic::add(tile.finite_queries, scratch.key_gradient + key * width_,
                            columns(scratch.cells.gradient_columns),
                            scratch.query_terms + first * width_, count, width_);
        }
    }

    // The rows of a tile between the first and the last that see any of these columns.
    static Range rows_that_see(const Tile& tile, Range columns) {
        Range found = {INT64_MAX, 0};
        const std::int64_t rows = tile.queries.stop - tile.queries.start;
        for (std::int64_t row = 0; row < rows; row += step) {
            if (intersection(tile.seen[row / step], columns).empty()) continue;
            found = {smaller(found.start, row), row + step};
        }
        return found;
    }

    void finish_keys(Lead lead, Range keys, Scratch scratch) const {
        const double base = request_.bias_count == 0 ? log2_of_e : 1;
        const Number factor = Number(Arithmetic::of_key_gradients(request_.scale, base));
        for (std::int64_t key = keys.start; key < keys.stop; ++key) {
            const std::int64_t i = key - keys.start;
            Storage* of_key = row_of<Storage>(request_.key_gradient, lead, key);
            for (std::int64_t j = 0; j < request_.width; ++j)
                narrow(scratch.key_gradient[i * width_ + j] * factor, of_key + j);
            Storage* of_value = row_of<Storage>(request_.value_gradient, lead, key);
            for (std::int64_t j = 0; j < request_.value_width; ++j)
                narrow(scratch.value_gradient[i * value_width_ + j], of_value + j);
        }
    }

    // Adds the parts' gradients of one head's queries, so far `apart`, in the order of the parts.
    void finish_queries(Lead lead, const Number* gradients, std::int64_t apart) const {
        for (std::int64_t i = 0; i < request_.queries; ++i) {
            Storage* to = row_of<Storage>(request_.query_gradient, lead, i);
            for (std::int64_t j = 0; j < request_.width; j += lanes<Number>) {
                Vector<Number> total = {};
                for (std::int64_t part = 0; part < parts_; ++part)
                    total += load(gradients + part * apart + i * width_ + j);
                total *= Number(request_.scale);
                narrow_some<Number>(total, smaller<std::int64_t>(lanes<Number>, request_.width - j),
                                    to + j);
            }
        }
    }

    const Request& request_;
    double unit_;  // of scores: powers of two, where there are no biases
    std::int64_t depth_, value_depth_;        // operands of a key and of a value
    std::int64_t query_row_, gradient_row_;   // of a query and an output's gradient, whole vectors
    std::int64_t width_, value_width_;        // numbers of them, padded to whole vectors
    std::int64_t padded_queries_;       // of one head, padded to whole steps
    std::int64_t tile_queries_, tile_keys_, cells_row_;
    std::int64_t parts_;  // into which the key tiles of one head are split
};

}  // namespace qkv::QKV_ISA
