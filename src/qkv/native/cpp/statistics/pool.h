// A coarse map of the matrix: each of its cells stands for an equal share of queries and keys, of
// whose weights it holds the maximum or the sum. What a query does not see is 0.
#pragma once

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

// The map of one head. The rows of one share are first folded into a row of as many numbers as there
// are keys, which is cheap, and that into the map once.
template <class Number>
class Pool {
   public:
    // `folded`: a number for each key, and whole vectors beyond the last.
    Pool(const Wanted& wanted, std::int64_t queries, std::int64_t keys, Number* folded)
        : fold_{wanted.pool_maximum},
          rows_(wanted.pool_rows),
          columns_(wanted.pool_columns),
          queries_(queries),
          keys_(keys),
          folded_(folded) {}

    // The share that a query belongs to: a row of the map.
    std::int64_t share(std::int64_t query) const { return query * rows_ / queries_; }

    void begin() const {
        for (std::int64_t j = 0; j < keys_; ++j) folded_[j] = fold_.start();
    }

    void add(Row<Number> row) const {
        if (!fold_.maximum) return add_row(row, folded_);
        add_unseen(0, row.first);
        Number* to = folded_ + row.first;
        for (std::int64_t j = 0; j < row.count; j += lanes<Number>) {
            const Vector<Number> before = load(to + j), next = load(row.weights + j);
            const Vector<Number> top = before >= next ? before : next;
            store(to + j, before == before ? top : before);
        }
        add_unseen(row.first + row.count, keys_);
    }

    void end(Number* map_row) const {
        for (std::int64_t column = 0; column < columns_; ++column) {
            Number found = map_row[column];
            for (std::int64_t j = start_of(column); j < start_of(column + 1); ++j)
                found = fold_.joined(found, folded_[j]);
            map_row[column] = found;
        }
    }

   private:
    // The first key of a column of the map, the least j with j * columns / keys >= column.
    std::int64_t start_of(std::int64_t column) const {
        return (column * keys_ + columns_ - 1) / columns_;
    }

    void add_unseen(std::int64_t start, std::int64_t stop) const {
        for (std::int64_t j = start; j < stop; ++j) folded_[j] = fold_.joined(folded_[j], 0);
    }

    PoolFold<Number> fold_;
    std::int64_t rows_, columns_, queries_, keys_;
    Number* folded_;
};

}  // namespace qkv::QKV_ISA
