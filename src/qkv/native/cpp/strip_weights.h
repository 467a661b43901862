// The weights of a strip: a few queries of one head against all keys that they see. Where a
// normalizer needs whole rows of scores, or weights have other uses than one product, this is how
// far the matrix is ever built.
#pragma once

#include "dropout.h"
#include "normalizers/normalizer.h"
#include "scores.h"
#include "threads.h"

namespace qkv::QKV_ISA {

// Cell (i, j) of a strip is query queries.start + i and key keys.start + j. Keys are whole panels,
// counted from key 0; there may be some beyond the last, which nobody sees.
struct Strip {
    Lead lead;
    Range queries, keys;
    std::int64_t rows() const { return queries.stop - queries.start; }
    std::int64_t columns() const { return keys.stop - keys.start; }
};

// How a request is cut. A task is a part of the strips of one key head and its group: every `parts`-th
// of them, so that each part has its share of a causal mask's corner.
template <class Number>
struct StripSizes {
    static constexpr std::int64_t most_rows = 8 * tile_rows;

    // `cells_alive` numbers for each cell of a strip should stay in the processor's second cache.
    StripSizes(const Request& request, int cells_alive)
        : width(rounded_up(request.width, lanes<Number>)),
          value_width(rounded_up(request.value_width, lanes<Number>)),
          keys(rounded_up(request.keys, panel_width<Number>)),
          // Rows a power of two apart would compete for the same places of the cache; and products
          // with keys as rows read up to a whole register tile.
          cells_row(keys + 16),
          few(keys / 8) {
        constexpr std::int64_t cache = 192 * 1024 / sizeof(Number);
        const std::int64_t fit = cache / (cells_alive * widest(request)) / tile_rows * tile_rows;
        const std::int64_t rows_there = rounded_up(request.queries, tile_rows);
        rows = smaller(smaller(larger<std::int64_t>(fit, tile_rows), most_rows), rows_there);
        strips = request.group * strips_of_member(request);
        const std::int64_t heads = request.batch * request.heads;
        const std::int64_t wanted = request.threads == 1 ? 1 : 2 * request.threads / heads + 1;
        parts = heads % request.threads == 0 ? 1 : smaller(wanted, strips);
    }

    std::int64_t strips_of_member(const Request& request) const {
        return (request.queries + rows - 1) / rows;
    }

    // The strip `index` of those of one key head, of which the lead is that of its first member.
    Strip strip(const Request& request, Lead lead, std::int64_t index) const {
        const std::int64_t each = strips_of_member(request), first = index % each * rows;
        lead.member = index / each;
        const Range queries = {first, smaller(first + rows, request.queries)};
        const Visible visible(request, lead);
        const Range seen = visible.span(queries.start, queries.stop);
        if (seen.empty()) return {lead, queries, {0, 0}};
        constexpr std::int64_t panel = panel_width<Number>;
        return {lead, queries, {seen.start / panel * panel, rounded_up(seen.stop, panel)}};
    }

    // The keys that the strips of one part see.
    Range keys_of(const Request& request, Lead lead, std::int64_t part) const {
        Range found = {INT64_MAX, 0};
        for (std::int64_t i = part; i < strips; i += parts) {
            const Range seen = strip(request, lead, i).keys;
            if (seen.empty()) continue;
            found = {smaller(found.start, seen.start), larger(found.stop, seen.stop)};
        }
        return found;
    }

    std::int64_t width, value_width;  // padded to whole vectors
    std::int64_t keys;                // padded to whole panels
    std::int64_t cells_row;           // from one row of a strip to the next
    std::int64_t few;                 // so many weights other than 0 are better taken one by one
    std::int64_t rows;                // of a strip, in whole register tiles
    std::int64_t strips, parts;       // of a key head and its group

   private:
    // The most keys that a register tile's queries see, of the first head.
    static std::int64_t widest(const Request& request) {
        const Visible visible(request, Lead{0, 0, 0});
        std::int64_t most = panel_width<Number>;
        for (std::int64_t query = 0; query < request.queries; query += tile_rows) {
            const Range seen =
                visible.span(query, smaller(query + tile_rows, request.queries));
            if (!seen.empty()) most = larger(most, seen.stop - seen.start);
        }
        return most;
    }
};

// Computes the weights of one strip at a time, in memory of its own.
template <class Storage>
class StripWeights {
   public:
    using Number = Real<Storage>;

    StripWeights(const Request& request, const StripSizes<Number>& sizes, Pieces<Number>& pieces)
        : scores(request, sizes.rows, sizes.keys, pieces), request_(request), sizes_(sizes) {
        query = scores.query;
        cells = pieces.take(sizes.rows * sizes.cells_row);
        candidates_.values = pieces.take(sizes.keys + lanes<Number>);
        candidates_.places = places(pieces.take(sizes.keys + lanes<Number>));
        spare_ = pieces.take(sizes.keys + lanes<Number>);
        if (Normalizer<Number>::is_sparse(request.normalizer))
            listed_ = places(pieces.take(sizes.rows * sizes.keys));
    }

    // Reads the keys of the strips to come: whole panels that hold all of theirs.
    void take_keys(Lead lead, Range keys) { scores.take_keys(lead, keys); }

    // Fills `cells`, `query`, `notes` and what they list. Dropout is left to others.
    void compute(const Strip& strip) {
        const std::int64_t rows = strip.rows();
        scores.take_queries(strip.lead, strip.queries);
        finite_query = scores.finite_query;
        const Visible visible(request_, strip.lead);
        for (std::int64_t column = 0; column < strip.columns(); column += tile_columns)
            for (std::int64_t row = 0; row < rows; row += tile_rows)
                run_tile(strip, visible, row,
                         {column, smaller(column + tile_columns, strip.columns())});
        const Normalizer<Number> normalizer(request_, strip.lead);
        is_sparse = Normalizer<Number>::is_sparse(request_.normalizer);
        for (std::int64_t row = 0; row < rows; ++row) {
            notes[row] = normalizer.normalize(cells + row * sizes_.cells_row, strip.columns(),
                                              candidates_, spare_);
            list(row);
        }
    }

    // Where the weights of a row stand that are not 0, notes[row].support of them, if the strip
    // is sparse.
    const std::int32_t* listed(std::int64_t row) const { return listed_ + row * sizes_.keys; }

    static constexpr std::int64_t tile_columns = 256;

    Scores<Storage> scores;
    Number *cells, *query;  // rows of weights; queries as their scores are made of them
    RowNote notes[StripSizes<Number>::most_rows];
    bool finite_query;
    bool is_sparse;  // whether for each row of the strip all weights that are not 0 are listed

   private:
    static std::int32_t* places(Number* piece) { return reinterpret_cast<std::int32_t*>(piece); }

    // The scores of a register tile's queries against some columns.
    void run_tile(const Strip& strip, const Visible& visible, std::int64_t row, Range columns) {
        Number* tile = cells + row * sizes_.cells_row + columns.start;
        const Range keys = {strip.keys.start + columns.start, strip.keys.start + columns.stop};
        const std::int64_t first = strip.queries.start + row;
        const Range queries = {first, smaller(first + tile_rows, strip.queries.stop)};
        scores.compute(row, keys, tile, sizes_.cells_row);
        visible.hide(queries, keys, tile, sizes_.cells_row, -infinity<Number>);
    }

    // Keeps the places that the normalizer found, if they are few.
    void list(std::int64_t row) {
        const std::int64_t found = notes[row].support;
        // What happens to a strip must not depend on a query that is not a number.
        if (found < 0 || (found > sizes_.few && !notes[row].broken)) is_sparse = false;
        if (!is_sparse) return;
        std::int32_t* to = listed_ + row * sizes_.keys;
        for (std::int64_t i = 0; i < found; ++i) to[i] = candidates_.places[i];
    }

    const Request& request_;
    const StripSizes<Number>& sizes_;
    Number* spare_;
    Candidates<Number> candidates_;
    std::int32_t* listed_ = nullptr;
};

}  // namespace qkv::QKV_ISA
