// All the statistics of one request, taken from rows of weights as they are finished.
//
// Numbers per query are written at once. What is summed over queries (mass, maps, A^T x) has a copy
// for each part of a head's rows; the copies are added in a fixed order, so that results do not
// depend on which thread was first.
#pragma once

#include "../normalizers/identity.h"
#include "../pack.h"
#include "../strip_weights.h"
#include "../threads.h"
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
          copy_(Copy(*this, nullptr).size),
          copies_(copy_ * sizes.parts * request.batch * request.heads * request.group) {
        clear_copies();
    }

    // Memory of one thread.
    struct Scratch {
        Scratch(const Sweep& of, Pieces<Number>& pieces) {
            const std::int64_t keys = of.sizes_.keys + lanes<Number>;
            folded = pieces.take(keys);
            collected_from = pieces.take(of.collected_width_ * of.sizes_.rows);
            if (!of.wanted_.top_weights.data) return;
            links = reinterpret_cast<Link<Number>*>(
                pieces.take(of.wanted_.top * std::int64_t(sizeof(Link<Number>) / sizeof(Number))));
            candidates.values = pieces.take(keys);
            candidates.places = reinterpret_cast<std::int32_t*>(pieces.take(keys));
            spare = pieces.take(keys);
            ranks = pieces.take(keys);
        }
        Number *folded, *collected_from;
        Link<Number>* links = nullptr;
        Candidates<Number> candidates = {};
        Number *spare = nullptr, *ranks = nullptr;
    };

    // A strip of part `part` of a key head, as its normalizer and dropout have left it. Every query
    // is taken once, those that see nothing too.
    void take(const Strip& strip, const StripWeights<Storage>& weights, std::int64_t part,
              Scratch& scratch) const {
        const Finished rows = {strip, weights.cells, sizes_.cells_row, weights.notes};
        take_queries(rows, scratch);
        const Copy copy(*this, copies_.data() + copy_ * index(strip.lead, part));
        if (wanted_.mass.data) take_mass(rows, copy, scratch);
        if (wanted_.pool.data) take_pool(rows, copy, scratch);
        if (wanted_.collected.data) take_collected(rows, copy, scratch);
    }

    // Ends what is summed over queries.
    void finish() const {
        if (copy_ == 0) return;
        const std::int64_t heads = request_.batch * request_.heads * request_.group;
        parallel(request_.threads, heads, [&](std::int64_t head, int) {
            const std::int64_t key_head = head / request_.group;
            finish({key_head / request_.heads, key_head % request_.heads, head % request_.group});
        });
    }

   private:
    struct Finished {
        const Strip& strip;
        const Number* weights;
        std::int64_t row;
        const RowNote* notes;

        QKV_INLINE Row<Number> at(std::int64_t i) const {
            return {weights + i * row, strip.keys.start, strip.columns()};
        }
    };

    // What is summed over the queries of one head in one part.
    struct Copy {
        Copy(const Sweep& of, Number* begin) {
            const Wanted& wanted = of.wanted_;
            Pieces<Number> pieces(begin);
            mass = pieces.take(wanted.mass.data ? of.sizes_.keys : 0);
            pool = pieces.take(wanted.pool.data ? wanted.pool_rows * wanted.pool_columns : 0);
            collected = pieces.take(wanted.collected.data ? of.sizes_.keys * of.collected_width_ : 0);
            size = pieces.used();
        }
        Number *mass, *pool, *collected;
        std::int64_t size;
    };

    std::int64_t index(Lead lead, std::int64_t part) const {
        const std::int64_t head = (lead.batch * request_.heads + lead.head) * request_.group;
        return (head + lead.member) * sizes_.parts + part;
    }

    void take_queries(const Finished& rows, Scratch& scratch) const {
        const Lead lead = rows.strip.lead;
        for (std::int64_t i = 0; i < rows.strip.rows(); ++i) {
            const std::int64_t query = rows.strip.queries.start + i;
            const Row<Number> row = rows.at(i);
            if (wanted_.entropy.data)
                *row_of<Number>(wanted_.entropy, lead, query) = entropy_of(row, rows.notes[i]);
            if (wanted_.distance.data)
                *row_of<Number>(wanted_.distance, lead, query) =
                    distance(row, position(lead, query));
            if (wanted_.support.data)
                *row_of<std::int64_t>(wanted_.support, lead, query) = support(row);
            if (wanted_.chosen_weights.data)
                take_chosen(row, row_of<Storage>(wanted_.chosen_weights, lead, query));
            if (wanted_.top_weights.data) take_top(row, lead, query, scratch);
        }
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

    void take_chosen(Row<Number> row, Storage* to) const {
        for (std::int64_t i = 0; i < wanted_.chosen_count; ++i) {
            const std::int64_t j = wanted_.chosen[i] - row.first;
            narrow(j >= 0 && j < row.count ? row.weights[j] : Number(0), to + i);
        }
    }

    void take_top(Row<Number> row, Lead lead, std::int64_t query, Scratch& scratch) const {
        if (request_.normalizer == NormalizerKind::identity) row = ranks_of(row, scratch.ranks);
        find_top(row, request_.keys, wanted_.top, scratch.links, scratch.candidates, scratch.spare);
        Number* weights = row_of<Number>(wanted_.top_weights, lead, query);
        std::int64_t* keys = row_of<std::int64_t>(wanted_.top_keys, lead, query);
        for (std::int64_t i = 0; i < wanted_.top; ++i) {
            const Link<Number> link = scratch.links[i];
            weights[i] = link.weight == -infinity<Number> ? 0 : link.weight;
            keys[i] = link.key;
        }
    }

    // Where weights may be negative what is hidden must come behind them.
    static Row<Number> ranks_of(Row<Number> row, Number* ranks) {
        for (std::int64_t j = 0; j < row.count; j += lanes<Number>) {
            const Vector<Number> weights = load(row.weights + j);
            store(ranks + j, is_hidden_identity<Number>(weights) ? broadcast(-infinity<Number>)
                                                                 : weights);
        }
        return {ranks, row.first, row.count};
    }

    // First among these rows, then to the others: two levels of summation lose fewer digits.
    void take_mass(const Finished& rows, Copy copy, Scratch& scratch) const {
        const Range keys = rows.strip.keys;
        for (std::int64_t j = keys.start; j < keys.stop; ++j) scratch.folded[j] = 0;
        for (std::int64_t i = 0; i < rows.strip.rows(); ++i) add_row(rows.at(i), scratch.folded);
        add_row(Row<Number>{scratch.folded + keys.start, keys.start, rows.strip.columns()},
                copy.mass);
    }

    void take_pool(const Finished& rows, Copy copy, Scratch& scratch) const {
        const Pool<Number> pool(wanted_, request_.queries, request_.keys, scratch.folded);
        const Range queries = rows.strip.queries;
        for (std::int64_t query = queries.start; query < queries.stop;) {
            const std::int64_t share = pool.share(query);
            pool.begin();
            for (; query < queries.stop && pool.share(query) == share; ++query)
                pool.add(rows.at(query - queries.start));
            pool.end(copy.pool + share * wanted_.pool_columns);
        }
    }

    void take_collected(const Finished& rows, Copy copy, Scratch& scratch) const {
        const Block<Storage> block(wanted_.collected_from, rows.strip.lead,
                                   rows.strip.queries.start, rows.strip.rows(),
                                   wanted_.collected_width);
        if (pack(block, Number(1), scratch.collected_from, collected_width_, rows.strip.rows()))
            add_collected<false>(rows, copy, scratch);
        else
            add_collected<true>(rows, copy, scratch);
    }

    // copy += weights^T x, for some keys at a time.
    template <bool SkipZeros>
    void add_collected(const Finished& rows, Copy copy, Scratch& scratch) const {
        static constexpr Number ones[tile_rows] = {1, 1, 1, 1, 1, 1};
        const std::int64_t depth = rows.strip.rows(), width = collected_width_;
        const std::int64_t count = rows.strip.columns();
        Number* to = copy.collected + rows.strip.keys.start * width;
        std::int64_t j = 0;
        for (; j + tile_rows <= count; j += tile_rows)
            rescale_and_add<SkipZeros, tile_rows>(to + j * width, width, ones,
                                                  Strided<Number>{rows.weights + j, 1, rows.row},
                                                  scratch.collected_from, width, depth, width);
        for (; j < count; ++j)
            rescale_and_add<SkipZeros, 1>(to + j * width, width, ones,
                                          Strided<Number>{rows.weights + j, 1, rows.row},
                                          scratch.collected_from, width, depth, width);
    }

    void finish(Lead lead) const {
        const Copy first(*this, copies_.data() + copy_ * index(lead, 0));
        if (wanted_.mass.data)
            for (std::int64_t j = 0; j < request_.keys; ++j)
                row_of<Number>(wanted_.mass, lead, 0)[j] = total(first.mass + j);
        if (wanted_.pool.data) finish_pool(lead, first);
        if (wanted_.collected.data) finish_collected(lead, first);
    }

    // The sum over the parts of what lies there in the first of them.
    Number total(const Number* first) const {
        Number found = 0;
        for (std::int64_t part = 0; part < sizes_.parts; ++part) found += first[part * copy_];
        return found;
    }

    void finish_pool(Lead lead, Copy first) const {
        const PoolFold<Number> fold = {wanted_.pool_maximum};
        for (std::int64_t row = 0; row < wanted_.pool_rows; ++row)
            for (std::int64_t column = 0; column < wanted_.pool_columns; ++column) {
                Number found = fold.start();
                for (std::int64_t part = 0; part < sizes_.parts; ++part)
                    found = fold.joined(found, first.pool[part * copy_ + row * wanted_.pool_columns + column]);
                row_of<Number>(wanted_.pool, lead, row)[column] = found;
            }
    }

    void finish_collected(Lead lead, Copy first) const {
        for (std::int64_t key = 0; key < request_.keys; ++key)
            for (std::int64_t j = 0; j < wanted_.collected_width; ++j)
                narrow(total(first.collected + key * collected_width_ + j),
                       row_of<Storage>(wanted_.collected, lead, key) + j);
    }

    void clear_copies() const {
        const PoolFold<Number> fold = {wanted_.pool_maximum};
        const std::int64_t count = request_.batch * request_.heads * request_.group * sizes_.parts;
        for (std::int64_t i = 0; i < count; ++i) {
            const Copy copy(*this, copies_.data() + copy_ * i);
            for (std::int64_t j = 0; j < copy.size; ++j) copies_.data()[copy_ * i + j] = 0;
            if (!wanted_.pool.data) continue;
            for (std::int64_t j = 0; j < wanted_.pool_rows * wanted_.pool_columns; ++j)
                copy.pool[j] = fold.start();
        }
    }

    const Request& request_;
    const Wanted& wanted_;
    const StripSizes<Number>& sizes_;
    std::int64_t collected_width_;  // padded to whole vectors
    std::int64_t copy_;             // the size of one
    Numbers<Number> copies_;
};

}  // namespace qkv::QKV_ISA
