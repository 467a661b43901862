// The inner product of a query and a key times the scale, and its derivative: for a strip's queries
// and the keys of its task.
#pragma once

#include "../long_sums.h"
#include "../pack.h"
#include "../sparse.h"
#include "../strip_sizes.h"

namespace qkv::QKV_ISA {

template <class Storage>
class DotProduct {
   public:
    using Number = Real<Storage>;

    // For requests of another score nothing is kept.
    DotProduct(const Request& request, const StripSizes<Number>& sizes, Pieces<Number>& pieces)
        : request_(request), width_(sizes.width) {
        if (request.score != ScoreKind::dot_product) return;
        query = pieces.take(sizes.rows * width_);
        key_panels_ = pieces.take(sizes.keys * request.width);
    }

    void take_keys(Lead lead, const Ranges& keys) {
        for (const Range& range : keys)
            pack_panels(block_of_keys<Storage>(request_, lead, range),
                            key_panels_ + range.start * request_.width);
    }

    void take_queries(Lead lead, Range queries) {
        finite_query = pack(block_of_queries<Storage>(request_, lead, queries),
                            Number(request_.scale), query, width_,
                            rounded_up(queries.size(), tile_rows));
    }

    void compute(std::int64_t row, Range keys, Number* scores, std::int64_t scores_row) {
        multiply(scores, scores_row, Strided<Number>{query + row * width_, width_, 1},
                 key_panels_ + keys.start * request_.width, request_.width, keys.size());
    }

    Number* query = nullptr;  // rows of the strip, times the scale
    bool finite_query = true;

   private:
    const Request& request_;
    std::int64_t width_;  // padded to whole vectors
    Number* key_panels_ = nullptr;
};

template <class Storage>
class DotProductGradients {
   public:
    using Number = Real<Storage>;

    DotProductGradients(const Request& request, const StripSizes<Number>& sizes,
                        Pieces<Number>& pieces)
        : request_(request), sizes_(sizes) {
        if (request.score == ScoreKind::dot_product) key_ = pieces.take(sizes.keys * sizes.width);
    }

    void begin(Lead lead, const Ranges& keys) {
        finite_keys_ = true;
        for (const Range& range : keys)
            finite_keys_ &= pack(block_of_keys<Storage>(request_, lead, range), Number(1),
                                 key_ + range.start * sizes_.width, sizes_.width, range.size());
    }

    void add(const Strip& strip, const DotProduct<Storage>& score, const Number* gradients,
             Number* query_gradient, Number* key_gradient) const {
        const std::int64_t width = sizes_.width;
        add_to_queries(strip, gradients, query_gradient);
        strip.for_each_keys([&](Range keys, std::int64_t column) {
            add_transposed(score.finite_query, key_gradient + keys.start * width,
                           gradients + column, sizes_.cells_row, keys.size(), score.query,
                           strip.rows(), width);
        });
    }

    // From a row of gradients of which few are not 0.
    void add_listed(const DotProduct<Storage>& score, std::int64_t row, Sparse<Number> gradients,
                    Number* query_gradient, Number* key_gradient) const {
        const std::int64_t width = sizes_.width;
        add_product(query_gradient + row * width, gradients, key_, width);
        add_outer_product(key_gradient, gradients, score.query + row * width, width);
    }

   private:
    void add_to_queries(const Strip& strip, const Number* gradients, Number* query_gradient) const {
        constexpr std::int64_t step = strip_tile_columns;
        const std::int64_t width = sizes_.width;
        LongSums<Number> long_sums(query_gradient, rounded_up(strip.rows(), tile_rows) * width,
                                   (strip.columns() + step - 1) / step);
        strip.for_each_keys(step, [&](Range keys, std::int64_t column) {
            for (std::int64_t row = 0; row < strip.rows(); row += tile_rows)
                qkv::QKV_ISA::add(
                    finite_keys_, query_gradient + row * width,
                    Strided<Number>{gradients + row * sizes_.cells_row + column, sizes_.cells_row, 1},
                    key_ + keys.start * width, keys.size(), width);
            long_sums.added();
        });
        long_sums.finish();
    }

    const Request& request_;
    const StripSizes<Number>& sizes_;
    Number* key_ = nullptr;  // of the task, each in its place
    bool finite_keys_ = true;
};

}  // namespace qkv::QKV_ISA
