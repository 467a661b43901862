// All the statistics of one request, taken from rows of weights as they are finished.
//
// Numbers per query are written at once. What is summed over queries (mass, maps, A^T x) has a copy
// for each part of a head's rows; the copies are added in a fixed order, so that results do not
// depend on which thread was first.
#pragma once

#include "../pack.h"
#include "../request.h"
#include "../threads.h"
#include "distance.h"
#include "entropy.h"
#include "pool.h"
#include "support.h"
#include "top.h"

namespace qkv::QKV_ISA {

// Finished weights of some queries of one head: rows `row` apart that hold the weights of the keys
// from `first_key` on, `count` of them, a multiple of the lanes; all others are 0. `ranks`: the same
// rows with -infinity where a weight is hidden, where weights may be negative; or null.
template <class Number>
struct FinishedRows {
    Lead lead;
    Range queries;
    const Number *weights, *ranks;
    std::int64_t row, first_key, count;

    QKV_INLINE Row<Number> at(const Number* rows, std::int64_t i) const {
        return {rows + i * row, first_key, count};
    }
};

template <class Storage>
class Sweep {
   public:
    using Number = Real<Storage>;

    // `parts`: into how many the rows of a key head are split.
    Sweep(const Request& request, std::int64_t parts)
        : request_(request),
          wanted_(request.wanted),
          parts_(parts),
          // Rows are read in whole panels from any key on.
          keys_(rounded_up(request.keys, panel_width<Number>) + panel_width<Number>),
          collected_width_(rounded_up(wanted_.collected_width, lanes<Number>)),
          top_(wanted_.top, request.keys),
          copy_(Copy(*this, nullptr).size),
          copies_(copy_ * parts * request.batch * request.heads * request.group) {
        clear_copies();
    }

    // Memory of one thread, `rows` of which are taken at a time at most.
    struct Scratch {
        Scratch(const Sweep& of, std::int64_t rows, Number* begin) {
            Pieces<Number> pieces(begin);
            top_numbers = pieces.take(of.top_.numbers());
            links = reinterpret_cast<Link<Number>*>(
                pieces.take(of.top_.links() * std::int64_t(sizeof(Link<Number>) / sizeof(Number))));
            folded = pieces.take(of.keys_);
            collected_from = pieces.take(of.collected_width_ * rounded_up(rows, tile_rows));
            size = pieces.used();
        }
        Number* top_numbers;
        Link<Number>* links;
        Number *folded, *collected_from;
        std::int64_t size;
    };

    // `part` of the rows of the key head. Every query is taken once, in the order of the queries
    // within a part, those that see nothing too.
    void take(const FinishedRows<Number>& rows, std::int64_t part, Scratch& scratch) const {
        take_queries(rows, scratch);
        const Copy copy(*this, copies_.data() + copy_ * index(rows.lead, part));
        if (wanted_.mass.data) take_mass(rows, copy, scratch);
        if (wanted_.pool.data) take_pool(rows, copy, scratch);
        if (wanted_.collected.data) take_collected(rows, copy, scratch);
    }

    // Ends what is summed over queries.
    void finish() const {
        const std::int64_t heads = request_.batch * request_.heads * request_.group;
        parallel(request_.threads, heads, [&](std::int64_t head, int) {
            const std::int64_t key_head = head / request_.group;
            finish({key_head / request_.heads, key_head % request_.heads, head % request_.group});
        });
    }

   private:
    // What is summed over the queries of one head in one part.
    struct Copy {
        Copy(const Sweep& of, Number* begin) {
            const Wanted& wanted = of.wanted_;
            Pieces<Number> pieces(begin);
            mass = pieces.take(wanted.mass.data ? of.keys_ : 0);
            pool = pieces.take(wanted.pool.data ? wanted.pool_rows * wanted.pool_columns : 0);
            collected = pieces.take(wanted.collected.data ? of.keys_ * of.collected_width_ : 0);
            size = pieces.used();
        }
        Number *mass, *pool, *collected;
        std::int64_t size;
    };

    std::int64_t index(Lead lead, std::int64_t part) const {
        const std::int64_t head = (lead.batch * request_.heads + lead.head) * request_.group;
        return (head + lead.member) * parts_ + part;
    }

    void take_queries(const FinishedRows<Number>& rows, Scratch& scratch) const {
        for (std::int64_t i = 0; i < rows.queries.stop - rows.queries.start; ++i) {
            const Lead lead = rows.lead;
            const std::int64_t query = rows.queries.start + i;
            const Row<Number> row = rows.at(rows.weights, i);
            if (wanted_.entropy.data) *row_of<Number>(wanted_.entropy, lead, query) = entropy(row);
            if (wanted_.distance.data)
                *row_of<Number>(wanted_.distance, lead, query) =
                    distance(row, position(lead, query));
            if (wanted_.support.data)
                *row_of<std::int64_t>(wanted_.support, lead, query) = support(row);
            if (wanted_.chosen_weights.data)
                take_chosen(row, row_of<Storage>(wanted_.chosen_weights, lead, query));
            if (wanted_.top_weights.data)
                take_top(rows.at(rows.ranks ? rows.ranks : rows.weights, i), lead, query, scratch);
        }
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

    void take_top(Row<Number> ranks, Lead lead, std::int64_t query, Scratch& scratch) const {
        top_.find(ranks, scratch.links, scratch.top_numbers);
        for (std::int64_t i = 0; i < wanted_.top; ++i) {
            row_of<Number>(wanted_.top_weights, lead, query)[i] = scratch.links[i].weight;
            row_of<std::int64_t>(wanted_.top_keys, lead, query)[i] = scratch.links[i].key;
        }
    }

    // First among these rows, then to the others: two levels of summation lose fewer digits.
    void take_mass(const FinishedRows<Number>& rows, Copy copy, Scratch& scratch) const {
        const Row<Number> folded = {scratch.folded + rows.first_key, rows.first_key, rows.count};
        for (std::int64_t j = 0; j < rows.count; ++j) scratch.folded[rows.first_key + j] = 0;
        for (std::int64_t i = 0; i < rows.queries.stop - rows.queries.start; ++i)
            add_row(rows.at(rows.weights, i), scratch.folded);
        add_row(folded, copy.mass);
    }

    void take_pool(const FinishedRows<Number>& rows, Copy copy, Scratch& scratch) const {
        const Pool<Number> pool(wanted_, request_.queries, request_.keys, scratch.folded);
        for (std::int64_t query = rows.queries.start; query < rows.queries.stop;) {
            const std::int64_t share = pool.share(query);
            pool.begin();
            for (; query < rows.queries.stop && pool.share(query) == share; ++query)
                pool.add(rows.at(rows.weights, query - rows.queries.start));
            pool.end(copy.pool + share * wanted_.pool_columns);
        }
    }

    void take_collected(const FinishedRows<Number>& rows, Copy copy, Scratch& scratch) const {
        const std::int64_t depth = rows.queries.stop - rows.queries.start;
        const Block<Storage> block(wanted_.collected_from, rows.lead, rows.queries.start, depth,
                                   wanted_.collected_width);
        if (pack(block, Number(1), scratch.collected_from, collected_width_, depth))
            add_collected<false>(rows, copy, scratch);
        else
            add_collected<true>(rows, copy, scratch);
    }

    // copy += weights^T x, for some keys at a time.
    template <bool SkipZeros>
    void add_collected(const FinishedRows<Number>& rows, Copy copy, Scratch& scratch) const {
        static constexpr Number ones[tile_rows] = {1, 1, 1, 1, 1, 1};
        const std::int64_t depth = rows.queries.stop - rows.queries.start, width = collected_width_;
        Number* to = copy.collected + rows.first_key * width;
        std::int64_t j = 0;
        for (; j + tile_rows <= rows.count; j += tile_rows)
            rescale_and_add<SkipZeros, tile_rows>(
                to + j * width, width, ones, Strided<Number>{rows.weights + j, 1, rows.row},
                scratch.collected_from, width, depth, width);
        for (; j < rows.count; ++j)
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
        for (std::int64_t part = 0; part < parts_; ++part) found += first[part * copy_];
        return found;
    }

    void finish_pool(Lead lead, Copy first) const {
        const PoolFold<Number> fold = {wanted_.pool_maximum};
        for (std::int64_t row = 0; row < wanted_.pool_rows; ++row)
            for (std::int64_t column = 0; column < wanted_.pool_columns; ++column) {
                Number found = fold.start();
                for (std::int64_t part = 0; part < parts_; ++part)
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
        const std::int64_t count = request_.batch * request_.heads * request_.group * parts_;
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
    std::int64_t parts_, keys_, collected_width_;
    Top<Number> top_;
    std::int64_t copy_;  // the size of one
    Numbers<Number> copies_;
};

}  // namespace qkv::QKV_ISA
