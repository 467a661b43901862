// Strips, and how a request is cut into them.
#pragma once

#include "matmul.h"
#include "visible.h"

namespace qkv::QKV_ISA {

// Cell (i, j) of a strip is query queries.start + i and key keys.start + j. Keys are whole panels,
// counted from key 0; there may be some beyond the last, which nobody sees.
struct Strip {
    Lead lead;
    Range queries, keys;
    std::int64_t rows() const { return queries.stop - queries.start; }
    std::int64_t columns() const { return keys.stop - keys.start; }
};

// How a request is cut. A task is a part of the queries of one key head, for each member of its group:
// every `parts`-th strip, so that each part has its share of a causal mask's corner.
template <class Number>
struct StripSizes {
    static constexpr std::int64_t most_rows = 8 * tile_rows;

    // `cells_alive` numbers for each cell of a strip should stay in the processor's second cache.
    // `joins_heads`: tasks of the same part run one after the other, whatever their head.
    StripSizes(const Request& request, int cells_alive, bool joins_heads = false)
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
        strips = (request.queries + rows - 1) / rows;
        const std::int64_t heads = joins_heads ? 1 : request.batch * request.heads;
        const std::int64_t wanted = request.threads == 1 ? 1 : 2 * request.threads / heads + 1;
        parts = heads % request.threads == 0 ? 1 : smaller(wanted, strips);
    }

    // Calls work(strip) for the strips of one part of a key head, of which the lead is that of its
    // first member: one member after the other, in the order of the queries.
    template <class Work>
    void for_each_strip(const Request& request, Lead lead, std::int64_t part, Work work) const {
        for (; lead.member < request.group; ++lead.member) {
            const Visible visible(request, lead);
            for (std::int64_t i = part; i < strips; i += parts) {
                const Range queries = {i * rows, smaller((i + 1) * rows, request.queries)};
                work(Strip{lead, queries, panels_of(visible.span(queries.start, queries.stop))});
            }
        }
    }

    // The keys that the strips of one part see, in whole panels.
    Range keys_of(const Request& request, Lead lead, std::int64_t part) const {
        Range found = {INT64_MAX, 0};
        for_each_strip(request, lead, part, [&](const Strip& strip) {
            if (strip.keys.empty()) return;
            found = {smaller(found.start, strip.keys.start), larger(found.stop, strip.keys.stop)};
        });
        return found;
    }

    std::int64_t cells() const { return rows * cells_row; }  // of a strip

    std::int64_t width, value_width;  // padded to whole vectors
    std::int64_t keys;                // padded to whole panels
    std::int64_t cells_row;           // from one row of a strip to the next
    std::int64_t few;                 // so many weights other than 0 are better taken one by one
    std::int64_t rows;                // of a strip, in whole register tiles
    std::int64_t strips, parts;       // of a head; into which they are split

   private:
    static Range panels_of(Range keys) {
        constexpr std::int64_t panel = panel_width<Number>;
        if (keys.empty()) return {0, 0};
        return {keys.start / panel * panel, rounded_up(keys.stop, panel)};
    }

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

}  // namespace qkv::QKV_ISA
