// A coarse map of the matrix: each of its cells stands for an equal share of queries and keys, of
// whose weights it holds the maximum or the sum. What a query does not see is 0.
#pragma once

#include "../strip_sizes.h"
#include "wanted.h"

namespace qkv::QKV_ISA {

// Maximum or sum. NaN stays.
struct PoolFold {
    bool maximum;

    QKV_INLINE double start() const { return maximum ? -infinity<double> : 0; }
    QKV_INLINE double joined(double a, double b) const {
        if (!maximum) return a + b;
        return a >= b || a != a ? a : b;
    }
    QKV_INLINE Vector<double> joined(Vector<double> a, Vector<double> b) const {
        if (!maximum) return a + b;
        const Vector<double> top = a >= b ? a : b;
        return a == a ? top : a;
    }
    // Of all lanes.
    template <int Step = lanes<double> / 2>
    QKV_INLINE double joined(Vector<double> numbers) const {
        if constexpr (Step == 0)
            return numbers[0];
        else
            return joined<Step / 2>(
                joined(exchanged<Step, double>(numbers, Lanes<double>{}), numbers));
    }
};

// The map of one head. The rows of one share come folded into one row of a strip's columns. How
// many cells of the matrix each cell of the map has had is counted: to a maximum the others count
// as 0.
class Pool {
   public:
    Pool(const Wanted& wanted, std::int64_t queries, std::int64_t keys)
        : fold_{wanted.pool_maximum},
          rows_(wanted.pool_rows),
          columns_(wanted.pool_columns),
          queries_(queries),
          keys_(keys) {}

    // The share that a query belongs to: a row of the map.
    std::int64_t share(std::int64_t query) const { return query * rows_ / queries_; }

    // The first query of the next share.
    std::int64_t stop_of(std::int64_t share) const { return first(share + 1, rows_, queries_); }

    // The rows of the map that have something of these queries.
    Range shares(Range queries) const {
        if (queries.size() == 0) return {0, 0};
        return {share(queries.start), share(queries.stop - 1) + 1};
    }

    // Adds so many rows of one share, of which the columns are folded, to the numbers and counts
    // of a row of the map.
    template <class Number>
    void add(const Strip& strip, const Number* columns, std::int64_t rows, double* map_row,
             std::int64_t* counts) const {
        strip.for_each_keys([&](Range keys, std::int64_t column) {
            const Number* folded = columns + column - keys.start;
            const std::int64_t last = smaller(keys.stop, keys_);
            std::int64_t share = keys.start * columns_ / keys_;
            for (std::int64_t key = keys.start; key < last; ++share) {
                const std::int64_t stop = smaller(start_of(share + 1), last);
                counts[share] += (stop - key) * rows;
                map_row[share] = fold_.joined(map_row[share], folded_keys({key, stop}, folded));
                key = stop;
            }
        });
    }

    // What a cell of the map is that has had so many cells of the matrix.
    double finished(std::int64_t row, std::int64_t column, double found, std::int64_t count) const {
        const std::int64_t queries = first(row + 1, rows_, queries_) - first(row, rows_, queries_);
        const bool is_whole = count == queries * (start_of(column + 1) - start_of(column));
        return is_whole ? found : fold_.joined(found, 0);
    }

   private:
    // Of these keys.
    template <class Number>
    double folded_keys(Range keys, const Number* folded) const {
        Vector<double> some = broadcast(fold_.start());
        std::int64_t key = keys.start;
        for (; key + lanes<double> <= keys.stop; key += lanes<double>)
            some = fold_.joined(some, in_double(folded + key));
        double found = fold_.joined(some);
        for (; key < keys.stop; ++key) found = fold_.joined(found, double(folded[key]));
        return found;
    }

    // The first key of a column of the map.
    std::int64_t start_of(std::int64_t column) const { return first(column, columns_, keys_); }

    // The first place of a share, the least i with i * shares / places >= share.
    static std::int64_t first(std::int64_t share, std::int64_t shares, std::int64_t places) {
        return (share * places + shares - 1) / shares;
    }

    PoolFold fold_;
    std::int64_t rows_, columns_, queries_, keys_;
};

}  // namespace qkv::QKV_ISA
