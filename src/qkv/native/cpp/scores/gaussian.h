// The score of two points by how far they are apart, -|scale (query - key)|^2 / 2, of a strip's queries
// and the keys of its task, and its derivative.
//
// Numbers are subtracted as they are. Expanded to a product, the squares of points that are far from
// others would take the digits of their distance to near ones.
#pragma once

#include "../long_sums.h"
#include "../pack.h"
#include "../strip_sizes.h"

namespace qkv::QKV_ISA {

// Scores of a register tile's rows against one panel of keys. `queries`: rows `row` apart; `panel`: as
// pack_transposed lays it out. Some terms at a time are complete before they meet the others: two
// levels of summation lose fewer digits than one.
template <class Number>
__attribute__((noinline)) void gaussian_scores(Number* scores, std::int64_t scores_row,
                                               const Number* queries, std::int64_t row,
                                               const Number* panel, std::int64_t width,
                                               Number scale) {
    constexpr std::int64_t at_a_time = 16;
    std::int64_t d = 0;
    do {
        Vector<Number> sums[tile_rows][QKV_VECTORS] = {};
        const std::int64_t start = d, stop = smaller(d + at_a_time, width);
        for (; d < stop; ++d)
#pragma GCC unroll 8
            for (int j = 0; j < QKV_VECTORS; ++j) {
                const Vector<Number> key = load(panel + d * panel_width<Number> + j * lanes<Number>);
#pragma GCC unroll 8
                for (int i = 0; i < tile_rows; ++i) {
                    const Vector<Number> apart = (key - queries[i * row + d]) * scale;
                    sums[i][j] += apart * apart;
                }
            }
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 8
            for (int j = 0; j < QKV_VECTORS; ++j) {
                Number* to = scores + i * scores_row + j * lanes<Number>;
                const Vector<Number> half = sums[i][j] * Number(-0.5);
                store(to, start == 0 ? half : load(to) + half);
            }
    } while (d < width);
}

template <class Storage>
class Gaussian {
   public:
    using Number = Real<Storage>;

    // For requests of another score nothing is kept.
    Gaussian(const Request& request, const StripSizes<Number>& sizes, Pieces<Number>& pieces)
        : request_(request), width_(sizes.width) {
        if (request.score != ScoreKind::gaussian) return;
        query = pieces.take(sizes.rows * width_);
        key_panels_ = pieces.take(sizes.keys * request.width);
    }

    void take_keys(Lead lead, const Ranges& keys) {
        for (const Range& range : keys)
            pack_panels(block_of_keys<Storage>(request_, lead, range),
                        key_panels_ + range.start * request_.width);
    }

    void take_queries(Lead lead, Range queries) {
        pack(block_of_queries<Storage>(request_, lead, queries), Number(1), query, width_,
             rounded_up(queries.size(), tile_rows));
    }

    void compute(std::int64_t row, Range keys, Number* scores, std::int64_t scores_row) const {
        constexpr std::int64_t panel = panel_width<Number>;
        for (std::int64_t key = keys.start; key < keys.stop; key += panel, scores += panel)
            gaussian_scores(scores, scores_row, query + row * width_, width_,
                            key_panels_ + key * request_.width, request_.width,
                            Number(request_.scale));
    }

    Number* query = nullptr;  // rows of the strip

   private:
    const Request& request_;
    std::int64_t width_;  // padded to whole vectors
    Number* key_panels_ = nullptr;
};

// The derivative, with the gradients g of the scores:
//
//   query_gradient_i = scale^2 sum_j g_ij (key_j - query_i), key_gradient_j = -scale^2 sum_i likewise.
//
// One of the two factors is for whoever ends the sums.
template <class Storage>
class GaussianGradients {
   public:
    using Number = Real<Storage>;

    GaussianGradients(const Request& request, const StripSizes<Number>& sizes,
                      Pieces<Number>& pieces)
        : request_(request), sizes_(sizes) {
        if (request.score != ScoreKind::gaussian) return;
        keys_ = pieces.take(sizes.keys * sizes.width);
        of_keys_ = pieces.take(tile_columns * sizes.width);
    }

    // `keys`: of the task, each of which takes its place.
    void begin(Lead lead, const Ranges& keys) {
        for (const Range& range : keys)
            pack(block_of_keys<Storage>(request_, lead, range), Number(1),
                 keys_ + range.start * sizes_.width, sizes_.width, range.size());
    }

    // From the gradients of a strip's scores. Adds to the gradients of the strip's queries and of all
    // keys.
    void add(const Strip& strip, const Gaussian<Storage>& score, Number* gradients,
             Number* query_gradient, Number* key_gradient) {
        const std::int64_t width = sizes_.width, padded = rounded_up(strip.rows(), tile_rows);
        for (std::int64_t i = strip.rows(); i < padded; ++i)
            clear(gradients + i * sizes_.cells_row, strip.columns());
        LongSums<Number> long_sums(query_gradient, padded * width,
                                   (strip.columns() + tile_columns - 1) / tile_columns);
        strip.for_each_keys(tile_columns, [&](Range keys, std::int64_t column) {
            clear(of_keys_, keys.size() * width);
            for (std::int64_t i = 0; i < padded; i += tile_rows)
                for (std::int64_t d = 0; d < width; d += lanes<Number>)
                    add_tile(keys, gradients + i * sizes_.cells_row + column,
                             score.query + i * width + d, query_gradient + i * width + d, d);
            Number* to = key_gradient + keys.start * width;
            for (std::int64_t n = 0; n < keys.size() * width; n += lanes<Number>)
                store(to + n, load(to + n) + load(of_keys_ + n));
            long_sums.added();
        });
        long_sums.finish();
    }

   private:
    // Keys at a time: these and their gradients should stay in the first cache.
    static constexpr std::int64_t tile_columns = 64;

    // A vector of columns, the first of which is `d`, of a register tile's queries and some keys.
    void add_tile(Range keys, const Number* gradients, const Number* queries,
                  Number* query_gradient, std::int64_t d) const {
        const Number scale = Number(request_.scale);
        Vector<Number> query[tile_rows], of_query[tile_rows] = {};
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i) query[i] = load(queries + i * sizes_.width);
        for (std::int64_t j = 0; j < keys.size(); ++j) {
            const Vector<Number> key = load(keys_ + (keys.start + j) * sizes_.width + d);
            Number* to = of_keys_ + j * sizes_.width + d;
            Vector<Number> of_key = load(to);
#pragma GCC unroll 8
            for (int i = 0; i < tile_rows; ++i) {
                const Number gradient = gradients[i * sizes_.cells_row + j];
                if (gradient == 0) continue;  // annihilates what is not finite
                const Vector<Number> term = (key - query[i]) * scale * gradient;
                of_query[i] += term;
                of_key -= term;
            }
            store(to, of_key);
        }
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i) {
            Number* to = query_gradient + i * sizes_.width;
            store(to, load(to) + of_query[i]);
        }
    }

    const Request& request_;
    const StripSizes<Number>& sizes_;
    Number *keys_ = nullptr, *of_keys_ = nullptr;  // of the task; sums of a tile
};

}  // namespace qkv::QKV_ISA
