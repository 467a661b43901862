// All the statistics of one request, taken from rows of weights as they are finished.
//
// Numbers per query are written at once. What is summed over queries (mass, maps, A^T x) has a copy
// for each part of a head's rows, used for the keys that the part sees; the copies are added in a
// fixed order, so that results do not depend on which thread was first.
#pragma once

#include "../normalizers/identity.h"
#include "../pack.h"
#include "../strip_weights.h"
#include "../threads.h"
#include "columns.h"
#include "diagonals.h"
#include "distance.h"
#include "entropy.h"
#include "pool.h"
#include "support.h"
#include "top.h"

namespace qkv::QKV_ISA {

template <class Storage>
class Sweep {
   public:
    using Number = Real<Storage>;

    Sweep(const Request& request, const StripSizes<Number>& sizes)
        : request_(request),
          wanted_(request.wanted),
          sizes_(sizes),
          collected_width_(rounded_up(wanted_.collected_width, lanes<Number>)),
          map_rows_(most_map_rows()),
          copy_(Copy(*this, nullptr, nullptr)),
          copies_(copy_.collected_size * copies()),
          wide_copies_(copy_.wide_size * copies()),
          seen_(sums_keys() ? key_heads(request) * sizes.parts : 0) {}

    // Memory of one thread.
    struct Scratch {
        Scratch(const Sweep& of, Pieces<Number>& pieces) {
            const std::int64_t columns = of.sizes_.columns + lanes<Number>;
            sums = pieces.take(columns);
            largest = pieces.take(of.wanted_.pool_maximum ? columns : 0);
            spare = pieces.take(columns);
            collected_from = pieces.take(of.collected_width_ * of.sizes_.rows);
            if (!of.wanted_.top_weights.data) return;
            links = pieces.template take_for<Link<Number>>(of.wanted_.top + 1);
            candidates.values = pieces.take(columns);
            candidates.places = pieces.template take_for<std::int32_t>(columns);
            ranks = pieces.take(columns);
        }
        Number *sums, *largest;  // of columns
        Number *spare, *collected_from;
        Link<Number>* links = nullptr;
        Candidates<Number> candidates = {};
        Number* ranks = nullptr;
    };

    // Before the strips of a part of a key head, which sees these keys.
    void begin(Lead lead, std::int64_t part, const Ranges& keys) const {
        if (sums_keys()) seen_.tell(task(lead, part), keys);
        for (lead.member = 0; lead.member < request_.group; ++lead.member)
            clear_copy(copy_of(index(lead, part)), keys);
    }

    // A strip of part `part` of a key head, as its normalizer and dropout have left it. Every query
    // is taken once, those that see nothing too.
    template <class Weights>
    void take(const Strip& strip, const Weights& weights, std::int64_t part,
              Scratch& scratch) const {
        const Finished rows = {strip, weights.cells, sizes_.cells_row, weights.notes};
        take_queries(rows, scratch);
        const Copy copy = copy_of(index(strip.lead, part));
        if (wanted_.mass.data || wanted_.pool.data)
            take_columns(rows, copy, map_rows_of(part).start, scratch);
        if (wanted_.collected.data) take_collected(rows, copy, scratch);
    }

    // Ends what is summed over queries.
    void finish() const {
        if (copy_.wide_size + copy_.collected_size == 0) return;
        parallel(request_.threads, query_heads(request_),
                 [&](std::int64_t head, int) { finish(query_head(request_, head)); });
    }

   private:
    struct Finished {
        const Strip& strip;
        const Number* weights;
        std::int64_t row;
        const RowNote* notes;

        QKV_INLINE Row<Number> at(std::int64_t i) const {
            return {weights + i * row, strip.columns()};
        }

        Rows<Number> from(Range some) const {
            return {weights + some.start * row, row, some.size(), strip.columns()};
        }
    };

    // What is summed over the queries of one head in one part.
    struct Copy {
        Copy(const Sweep& of, Number* begin, double* wide_begin) {
            const Wanted& wanted = of.wanted_;
            Pieces<Number> pieces(begin);
            Pieces<double> wide(wide_begin);
            mass = wide.take(wanted.mass.data ? of.sizes_.keys : 0);
            const std::int64_t map = of.map_rows_ * wanted.pool_columns;
            pool = wide.take(map);
            pool_counts = wide.template take_for<std::int64_t>(map);
            collected = pieces.take(wanted.collected.data ? of.sizes_.keys * of.collected_width_ : 0);
            collected_size = pieces.used(), wide_size = wide.used();
        }
        double *mass, *pool;
        std::int64_t* pool_counts;
        Number* collected;
        std::int64_t collected_size, wide_size;
    };

    // Whether numbers of each key are summed over queries.
    bool sums_keys() const { return wanted_.mass.data || wanted_.collected.data; }

    // The rows of the map that one part adds to, and the most that one does. A copy has no others.
    Range map_rows_of(std::int64_t part) const {
        const Pool pool(wanted_, request_.queries, request_.keys);
        return pool.shares(sizes_.queries_of_part(request_, part));
    }

    std::int64_t most_map_rows() const {
        std::int64_t most = 0;
        if (!wanted_.pool.data) return most;
        for (std::int64_t part = 0; part < sizes_.parts; ++part)
            most = larger(most, map_rows_of(part).size());
        return most;
    }

    std::int64_t copies() const { return sizes_.parts * query_heads(request_); }

    Copy copy_of(std::int64_t index) const {
        return {*this, copies_.data() + copy_.collected_size * index,
                wide_copies_.data() + copy_.wide_size * index};
    }

    std::int64_t index(Lead lead, std::int64_t part) const {
        const std::int64_t head = (lead.batch * request_.heads + lead.head) * request_.group;
        return (head + lead.member) * sizes_.parts + part;
    }

    // The task of a key head's part.
    std::int64_t task(Lead lead, std::int64_t part) const {
        return (lead.batch * request_.heads + lead.head) * sizes_.parts + part;
    }

    void take_queries(const Finished& rows, Scratch& scratch) const {
        const Lead lead = rows.strip.lead;
        for (std::int64_t i = 0; i < rows.strip.rows(); ++i) {
            const std::int64_t query = rows.strip.queries.start + i;
            const Row<Number> row = rows.at(i);
            take_by_pass(rows, i, scratch);
            if (wanted_.entropy.data)
                *row_of<Number>(wanted_.entropy, lead, query) = entropy_of(row, rows.notes[i]);
            if (wanted_.chosen_weights.data)
                take_chosen(row, rows.strip.keys, row_of<Storage>(wanted_.chosen_weights, lead, query));
            if (wanted_.diagonals.data)
                take_diagonals(row, rows.strip.keys, position(lead, query), wanted_,
                               row_of<Number>(wanted_.diagonals, lead, query));
        }
    }

    // What is taken of each weight by itself: by one pass for all of it.
    void take_by_pass(const Finished& rows, std::int64_t i, Scratch& scratch) const {
        const bool has_distance = wanted_.distance.data, has_support = wanted_.support.data;
        const bool has_top = wanted_.top_weights.data;
        const bool together = has_distance + has_support + has_top > 1;
        const Lead lead = rows.strip.lead;
        const std::int64_t query = rows.strip.queries.start + i;
        Distance<Number> distance;
        Support<Number> support;
        PanelMaxima<Number> maxima(scratch.spare);
        rows.strip.for_each_keys([&](Range keys, std::int64_t column) {
            const Number* weights = rows.at(i).weights + column;
            distance.begin(keys.start - position(lead, query));
            if (together)
                pass_over(weights, keys.size(), distance, support, maxima);
            else if (has_distance)
                pass_over(weights, keys.size(), distance);
            else if (has_support)
                pass_over(weights, keys.size(), support);
            else if (has_top)
                pass_over(weights, keys.size(), maxima);
        });
        if (has_distance) *row_of<Number>(wanted_.distance, lead, query) = distance.mean();
        if (has_support) *row_of<std::int64_t>(wanted_.support, lead, query) = support.count();
        if (has_top)
            take_top(rows.at(i), maxima.is_suspicious(), rows.strip.keys, lead, query, scratch);
    }

    // A softmax knows it without logarithms.
    Number entropy_of(Row<Number> row, const RowNote& note) const {
        const bool known =
            request_.normalizer == NormalizerKind::softmax && !request_.dropout_states.data;
        return known ? Number(note.entropy) : entropy(row);
    }

    std::int64_t position(Lead lead, std::int64_t query) const {
        if (!request_.positions.data) return query;
        return *row_of<std::int64_t>(request_.positions, lead, query);
    }

    void take_chosen(Row<Number> row, const Ranges& keys, Storage* to) const {
        for (std::int64_t i = 0; i < wanted_.chosen_count; ++i) {
            const std::int64_t j = keys.place(wanted_.chosen[i]);
            narrow(j >= 0 ? row.weights[j] : Number(0), to + i);
        }
    }

    // `suspicious`: whether there may be NaN.
    void take_top(Row<Number> row, bool suspicious, const Ranges& seen, Lead lead,
                  std::int64_t query, Scratch& scratch) const {
        const bool may_be_negative = request_.normalizer == NormalizerKind::identity;
        const Largest<Number> largest =
            may_be_negative
                ? largest_of_ranks(row, scratch)
                : Largest<Number>(row.weights, row.count, scratch.spare, suspicious);
        find_top(largest, seen, request_.keys, wanted_.top, scratch.links, scratch.candidates);
        Number* weights = row_of<Number>(wanted_.top_weights, lead, query);
        std::int64_t* keys = row_of<std::int64_t>(wanted_.top_keys, lead, query);
        for (std::int64_t i = 0; i < wanted_.top; ++i) {
            const Link<Number> link = scratch.links[i];
            weights[i] = link.weight == -infinity<Number> ? 0 : link.weight;
            keys[i] = link.key;
        }
    }

    // Where weights may be negative what is hidden must come behind them.
    static Largest<Number> largest_of_ranks(Row<Number> row, Scratch& scratch) {
        Number* ranks = scratch.ranks;
        for (std::int64_t j = 0; j < row.count; j += lanes<Number>) {
            const Vector<Number> weights = load(row.weights + j);
            store(ranks + j, is_hidden_identity<Number>(weights) ? broadcast(-infinity<Number>)
                                                                 : weights);
        }
        return Largest<Number>::of(ranks, row.count, scratch.spare);
    }

    // What is folded over queries: first some rows, those of one share of the map, then that is
    // added to the others. So sums have two levels, and lose fewer digits. `first_row`: the first
    // row of the map that the copy has.
    void take_columns(const Finished& rows, Copy copy, std::int64_t first_row,
                      Scratch& scratch) const {
        const Pool pool(wanted_, request_.queries, request_.keys);
        const Range queries = rows.strip.queries;
        for (std::int64_t query = queries.start; query < queries.stop;) {
            const std::int64_t start = query;
            const std::int64_t share = wanted_.pool.data ? pool.share(query) : 0;
            query = wanted_.pool.data ? smaller(pool.stop_of(share), queries.stop) : queries.stop;
            const Rows<Number> some = rows.from({start - queries.start, query - queries.start});
            if (wanted_.pool_maximum)
                fold_columns<true>(some, scratch.sums, scratch.largest);
            else
                fold_columns<false>(some, scratch.sums, scratch.largest);
            if (wanted_.mass.data) add_mass(rows.strip, scratch.sums, copy.mass);
            if (!wanted_.pool.data) continue;
            const std::int64_t place = (share - first_row) * wanted_.pool_columns;
            pool.add(rows.strip, wanted_.pool_maximum ? scratch.largest : scratch.sums, some.count,
                     copy.pool + place, copy.pool_counts + place);
        }
    }

    static void add_mass(const Strip& strip, const Number* sums, double* mass) {
        strip.for_each_keys([&](Range keys, std::int64_t column) {
            const Number* of_keys = sums + column - keys.start;
            for (std::int64_t j = keys.start; j < keys.stop; ++j) mass[j] += double(of_keys[j]);
        });
    }

    void take_collected(const Finished& rows, Copy copy, Scratch& scratch) const {
        const Block<Storage> block(wanted_.collected_from, rows.strip.lead,
                                   rows.strip.queries.start, rows.strip.rows(),
                                   wanted_.collected_width);
        const bool finite = pack(block, Number(1), scratch.collected_from, collected_width_,
                                 rows.strip.rows());
        rows.strip.for_each_keys([&](Range keys, std::int64_t column) {
            add_transposed(finite, copy.collected + keys.start * collected_width_,
                           rows.weights + column, rows.row, keys.size(), scratch.collected_from,
                           rows.strip.rows(), collected_width_);
        });
    }

    void finish(Lead lead) const {
        const auto of = [&](auto numbers) {
            return [=, this](std::int64_t part) { return copy_of(index(lead, part)).*numbers; };
        };
        if (wanted_.pool.data) finish_pool(lead);
        if (!sums_keys()) return;
        const Ranges* seen = seen_.from(task(lead, 0));
        if (wanted_.mass.data)
            sizes_.add_parts(request_, seen, of(&Copy::mass), 1, 1, [&](std::int64_t key, const double* total) {
                row_of<Number>(wanted_.mass, lead, 0)[key] = Number(*total);
            });
        if (!wanted_.collected.data) return;
        const std::int64_t width = wanted_.collected_width;
        sizes_.add_parts(request_, seen, of(&Copy::collected), width, collected_width_,
                         [&](std::int64_t key, const double* total) {
                             Storage* to = row_of<Storage>(wanted_.collected, lead, key);
                             for (std::int64_t j = 0; j < width; ++j) narrow(Number(total[j]), to + j);
                         });
    }

    void finish_pool(Lead lead) const {
        const PoolFold fold = {wanted_.pool_maximum};
        const Pool pool(wanted_, request_.queries, request_.keys);
        Numbers<Range> rows(sizes_.parts);
        for (std::int64_t part = 0; part < sizes_.parts; ++part) rows.data()[part] = map_rows_of(part);
        for (std::int64_t row = 0; row < wanted_.pool_rows; ++row)
            for (std::int64_t column = 0; column < wanted_.pool_columns; ++column) {
                double found = fold.start();
                std::int64_t count = 0;
                for (std::int64_t part = 0; part < sizes_.parts; ++part) {
                    const Range own = rows.data()[part];
                    if (row < own.start || row >= own.stop) continue;
                    const Copy copy = copy_of(index(lead, 0) + part);
                    const std::int64_t place = (row - own.start) * wanted_.pool_columns + column;
                    found = fold.joined(found, copy.pool[place]);
                    count += copy.pool_counts[place];
                }
                row_of<Number>(wanted_.pool, lead, row)[column] =
                    Number(pool.finished(row, column, found, count));
            }
    }

    void clear_copy(const Copy& copy, const Ranges& keys) const {
        if (wanted_.mass.data) clear_keys(copy.mass, keys, 1);
        if (wanted_.collected.data) clear_keys(copy.collected, keys, collected_width_);
        if (!wanted_.pool.data) return;
        const std::int64_t map = map_rows_ * wanted_.pool_columns;
        const PoolFold fold = {wanted_.pool_maximum};
        for (std::int64_t i = 0; i < map; ++i) copy.pool[i] = fold.start();
        clear(copy.pool_counts, map);
    }

    const Request& request_;
    const Wanted& wanted_;
    const StripSizes<Number>& sizes_;
    std::int64_t collected_width_;  // padded to whole vectors
    std::int64_t map_rows_;         // of a copy
    Copy copy_;                     // only its sizes
    Numbers<Number> copies_;
    Numbers<double> wide_copies_;
    SeenKeys seen_;
};

}  // namespace qkv::QKV_ISA
