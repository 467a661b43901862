// A coarse map of the matrix: each of its cells stands for an equal share of queries and keys, of
// whose weights it holds the maximum or the sum. What a query does not see is 0.
#pragma once

#include "../strip_sizes.h"
#include "row.h"
#include "wanted.h"

namespace qkv::QKV_ISA {

// Maximum or sum. NaN stays.
template <class Number>
struct PoolFold {
    bool maximum;

    QKV_INLINE Number start() const { return maximum ? -infinity<Number> : Number(0); }
    QKV_INLINE Number joined(Number a, Number b) const {
        if (!maximum) return a + b;
        return a >= b || a != a ? a : b;
    }
};

// The map of one head. The rows of one share are first folded into a row of a strip's columns, which
// is cheap, and that into the map once. How many cells of the matrix each cell of the map has had is
// counted: to a maximum the others count as 0.
template <class Number>
class Pool {
   public:
    // `folded`: a number for each column of a strip.
    Pool(const Wanted& wanted, std::int64_t queries, std::int64_t keys, Number* folded)
        : fold_{wanted.pool_maximum},
          rows_(wanted.pool_rows),
          columns_(wanted.pool_columns),
          queries_(queries),
          keys_(keys),
          folded_(folded) {}

    // The share that a query belongs to: a row of the map.
    std::int64_t share(std::int64_t query) const { return query * rows_ / queries_; }

    // The rows of the map that have something of these queries.
    Range shares(Range queries) const {
        if (queries.size() == 0) return {0, 0};
        return {share(queries.start), share(queries.stop - 1) + 1};
    }

    void begin(const Strip& strip) {
        for (std::int64_t j = 0; j < strip.columns(); ++j) folded_[j] = fold_.start();
        added_ = 0;
    }

    void add(Row<Number> row) {
        ++added_;
        if (!fold_.maximum) return add_row(row, folded_);
        for (std::int64_t j = 0; j < row.count; j += lanes<Number>) {
            const Vector<Number> before = load(folded_ + j), next = load(row.weights + j);
            const Vector<Number> top = before >= next ? before : next;
            store(folded_ + j, before == before ? top : before);
        }
    }

    // Into the numbers and counts of a row of the map.
    void end(const Strip& strip, double* map_row, std::int64_t* counts) const {
        const PoolFold<double> fold = {fold_.maximum};
        strip.for_each_keys([&](Range keys, std::int64_t column) {
            const Number* folded = folded_ + column - keys.start;
            const std::int64_t last = smaller(keys.stop, keys_);
            for (std::int64_t key = keys.start; key < last;) {
                const std::int64_t share = key * columns_ / keys_;
                const std::int64_t stop = smaller(start_of(share + 1), last);
                counts[share] += (stop - key) * added_;
                map_row[share] = fold.joined(map_row[share], folded_keys({key, stop}, folded));
                key = stop;
            }
        });
    }

    // What a cell of the map is that has had so many cells of the matrix.
    double finished(std::int64_t row, std::int64_t column, double found, std::int64_t count) const {
        const std::int64_t queries = first(row + 1, rows_, queries_) - first(row, rows_, queries_);
        const bool is_whole = count == queries * (start_of(column + 1) - start_of(column));
        return is_whole ? found : PoolFold<double>{fold_.maximum}.joined(found, 0);
    }

   private:
    // Of these keys. Several numbers at a time: each would wait for the one before.
    double folded_keys(Range keys, const Number* folded) const {
        constexpr int together = 8;
        const PoolFold<double> fold = {fold_.maximum};
        double some[together];
        for (double& one : some) one = fold.start();
        std::int64_t key = keys.start;
        for (; key + together <= keys.stop; key += together)
            for (int i = 0; i < together; ++i)
                some[i] = fold.joined(some[i], double(folded[key + i]));
        for (int i = 0; key < keys.stop; ++key, ++i)
            some[i] = fold.joined(some[i], double(folded[key]));
        for (int i = 1; i < together; ++i) some[0] = fold.joined(some[0], some[i]);
        return some[0];
    }

    // The first key of a column of the map.
    std::int64_t start_of(std::int64_t column) const { return first(column, columns_, keys_); }

    // The first place of a share, the least i with i * shares / places >= share.
    static std::int64_t first(std::int64_t share, std::int64_t shares, std::int64_t places) {
        return (share * places + shares - 1) / shares;
    }

    PoolFold<Number> fold_;
    std::int64_t rows_, columns_, queries_, keys_;
    std::int64_t added_ = 0;  // rows
    Number* folded_;
};

}  // namespace qkv::QKV_ISA
