// Strips, and how a request is cut into them.
#pragma once

#include "matmul.h"
#include "tasks.h"

namespace qkv::QKV_ISA {

// Row i of a strip is query queries.start + i; its columns are the keys one behind the other, without
// those between their ranges. Keys are whole panels, counted from key 0; there may be some beyond the
// last, which nobody sees.
struct Strip {
    Strip(Lead lead, Range queries, const Ranges& keys)
        : lead(lead), queries(queries), keys(keys), columns_(keys.size()) {}

    std::int64_t rows() const { return queries.size(); }
    std::int64_t columns() const { return columns_; }

    // Calls work(keys, column) for neighbouring keys, at most `step` at a time, of which the first has
    // this column.
    template <class Work>
    void for_each_keys(std::int64_t step, Work work) const {
        std::int64_t column = 0;
        for (const Range& range : keys)
            for (std::int64_t key = range.start; key < range.stop; key += step) {
                const Range some = {key, smaller(key + step, range.stop)};
                work(some, column);
                column += some.size();
            }
    }

    // For all neighbours at a time.
    template <class Work>
    void for_each_keys(Work work) const {
        for_each_keys(larger<std::int64_t>(columns_, 1), work);
    }

    Lead lead;
    Range queries;
    Ranges keys;

   private:
    std::int64_t columns_;
};

// Keys of a strip that are taken at a time.
constexpr std::int64_t strip_tile_columns = 256;

// Puts 0 into the rows of these keys.
template <class Number>
void clear_keys(Number* numbers, const Ranges& keys, std::int64_t row) {
    for (const Range& range : keys)
        clear(numbers + range.start * row, range.size() * row);
}

// The keys that the tasks of a request see, each told when the task begins: none before, as for those
// that an interrupted call leaves.
class SeenKeys {
   public:
    explicit SeenKeys(std::int64_t tasks) : list_(tasks) {
        for (std::int64_t task = 0; task < tasks; ++task) new (list_.data() + task) Ranges;
    }

    void tell(std::int64_t task, const Ranges& keys) const { list_.data()[task] = keys; }

    // Of this task and, behind it, of those that follow.
    const Ranges* from(std::int64_t task) const { return list_.data() + task; }

   private:
    Numbers<Ranges> list_;
};

// How a request is cut. A task is a part of the queries of one key head, for each member of its group:
// neighbouring strips, which see few keys where a mask shows few, and so many of them that each part
// has its share of the cells that the first head shows.
template <class Number>
struct StripSizes {
    static constexpr std::int64_t most_rows = 8 * tile_rows;

    // `step` queries are computed at a time, and `cells_alive` numbers for each cell of a strip
    // should stay in the processor's second cache. `joins_heads`: tasks of the same part run one
    // after the other, whatever their head.
    StripSizes(const Request& request, int step, int cells_alive, bool joins_heads = false)
        : width(rounded_up(request.width, lanes<Number>)),
          value_width(rounded_up(request.value_width, lanes<Number>)),
          keys(rounded_up(request.keys, panel_width<Number>)),
          rows(rows_of_strip(request, step, cells_alive)),
          strips((request.queries + rows - 1) / rows),
          parts(parts_of_head(request, strips, joins_heads)),
          columns(widest_strip(request)),
          // Rows a power of two apart would compete for the same places of the cache.
          cells_row(columns + 16),
          few(columns / 8),
          starts_(parts + 1) {
        find_parts(request);
    }

    // Calls work(strip) for the strips of one part of a key head, of which the lead is that of its
    // first member: one member after the other, in the order of the queries.
    template <class Work>
    void for_each_strip(const Request& request, Lead lead, std::int64_t part, Work work) const {
        for (; lead.member < request.group; ++lead.member) {
            const Visible visible(request, lead);
            for (std::int64_t i = starts_.data()[part]; i < starts_.data()[part + 1]; ++i) {
                const Range queries = queries_of(request, i);
                work(Strip(lead, queries, visible.keys_of(queries, panel_width<Number>)));
            }
        }
    }

    // The queries of one part.
    Range queries_of_part(const Request& request, std::int64_t part) const {
        const std::int64_t start = starts_.data()[part] * rows, stop = starts_.data()[part + 1] * rows;
        return {smaller(start, request.queries), smaller(stop, request.queries)};
    }

    // The keys that the strips of one part see, in whole panels.
    Ranges keys_of(const Request& request, Lead lead, std::int64_t part) const {
        Ranges found;
        for_each_strip(request, lead, part, [&](const Strip& strip) { found.add(strip.keys); });
        return found;
    }

    // Calls write(key, sums) for each key of a head: `width` sums over the parts, in their order, of
    // what of(part) points at. There the keys that the part sees, seen[part], have rows of numbers,
    // `row` apart; what lies at others is not read.
    template <class Of, class Write>
    void add_parts(const Request& request, const Ranges* seen, Of of, std::int64_t width,
                   std::int64_t row, Write write) const {
        const std::int64_t step = smaller<std::int64_t>(256, request.keys);
        Numbers<double> sums(step * width);
        for (std::int64_t start = 0; start < request.keys; start += step) {
            const Range some = {start, smaller(start + step, request.keys)};
            clear(sums.data(), some.size() * width);
            for (std::int64_t part = 0; part < parts; ++part) {
                const auto* from = of(part);
                for (const Range& range : seen[part]) {
                    const Range keys = intersection(range, some);
                    for (std::int64_t key = keys.start; key < keys.stop; ++key)
                        for (std::int64_t j = 0; j < width; ++j)
                            sums.data()[(key - start) * width + j] += double(from[key * row + j]);
                }
            }
            for (std::int64_t key = some.start; key < some.stop; ++key)
                write(key, sums.data() + (key - start) * width);
        }
    }

    std::int64_t cells() const { return rows * cells_row; }  // of a strip

    std::int64_t width, value_width;  // padded to whole vectors
    std::int64_t keys;                // padded to whole panels
    std::int64_t rows;                // of a strip, in whole steps
    std::int64_t strips, parts;       // of a head; into which they are split
    std::int64_t columns;             // the most that a strip has
    std::int64_t cells_row;           // from one row of a strip to the next
    std::int64_t few;                 // so many weights other than 0 are better taken one by one

   private:
    static std::int64_t rows_of_strip(const Request& request, int step, int cells_alive) {
        constexpr std::int64_t cache = 192 * 1024 / sizeof(Number);
        // The most keys that a step's queries see, of the first head.
        const std::int64_t widest_tile = widest(request, Lead{0, 0, 0}, step);
        const std::int64_t fit = smaller(cache / (cells_alive * widest_tile), most_rows);
        const std::int64_t rows_there = rounded_up(request.queries, step);
        return smaller(larger<std::int64_t>(fit / step * step, step), rows_there);
    }

    Range queries_of(const Request& request, std::int64_t strip) const {
        return {strip * rows, smaller((strip + 1) * rows, request.queries)};
    }

    // Finds the first strip of each part.
    void find_parts(const Request& request) {
        std::int64_t* starts = starts_.data();
        starts[0] = 0, starts[parts] = strips;
        if (parts == 1) return;
        const Visible visible(request, Lead{0, 0, 0});
        Numbers<std::int64_t> ends(strips);  // how much is to be done up to the end of each strip
        std::int64_t done = 0;
        for (std::int64_t i = 0; i < strips; ++i) {
            const std::int64_t seen = visible.keys_of(queries_of(request, i), panel_width<Number>).size();
            ends.data()[i] = done += seen + panel_width<Number>;
        }
        for (std::int64_t part = 1; part < parts; ++part) {
            std::int64_t start = starts[part - 1];
            while (ends.data()[start] * parts < done * part) ++start;
            starts[part] = start;
        }
    }

    // The most keys that a strip's queries see, of any head.
    std::int64_t widest_strip(const Request& request) const {
        const Intervals& intervals = request.intervals;
        const std::int64_t batch = intervals.batch == 0 ? 1 : request.batch;
        const std::int64_t heads = intervals.head == 0 ? 1 : request.heads;
        const std::int64_t members = intervals.group == 0 ? 1 : request.group;
        std::int64_t most = 0;
        for (std::int64_t i = 0; i < batch * heads * members; ++i)
            most = larger(most, widest(request, Lead{i / members / heads, i / members % heads,
                                                     i % members}, rows));
        return most;
    }

    static std::int64_t widest(const Request& request, Lead lead, std::int64_t rows) {
        const Visible visible(request, lead);
        std::int64_t most = panel_width<Number>;
        for (std::int64_t query = 0; query < request.queries; query += rows) {
            const Range queries = {query, smaller(query + rows, request.queries)};
            most = larger(most, visible.keys_of(queries, panel_width<Number>).size());
        }
        return most;
    }

    Numbers<std::int64_t> starts_;  // the first strip of each part, and the end of the last
};

}  // namespace qkv::QKV_ISA
