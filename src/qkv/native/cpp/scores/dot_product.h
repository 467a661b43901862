// The inner product of a query and a key times the scale, and its derivative: for a strip's queries
// and the keys of its task.
#pragma once

#include "../long_sums.h"
#include "../softmax.h"
#include "../sparse.h"
#include "../strip_rows.h"

namespace qkv::QKV_ISA {

template <class Storage, class Arithmetic>
class DotProduct {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;

    // For requests of another score nothing is kept. `differentiated`: queries are also kept as
    // gradients of keys want them, and with `listed` as those of few keys do.
    DotProduct(const Request& request, const StripSizes<Number>& sizes, bool differentiated,
               bool listed, Pieces<Number>& pieces)
        : request_(request), depth_(Arithmetic::operands(request.width)) {
        if (request.score != ScoreKind::dot_product) return;
        query = {sizes, request.width, differentiated, differentiated && listed, pieces};
        key_panels_ = pieces.template take_for<Operand>(sizes.keys * depth_);
    }

    void take_keys(Lead lead, const Ranges& keys) {
        finite_keys_ = true;
        for (const Range& range : keys)
            finite_keys_ &=
                Arithmetic::pack_panels(block_of_keys<Storage>(request_, lead, range),
                                        key_panels_ + range.start * depth_, range.size(), depth_);
    }

    void take_queries(Lead lead, Range queries) {
        query.take(block_of_queries<Storage>(request_, lead, queries),
                   Arithmetic::of_queries(request_.scale));
    }

    void compute(std::int64_t row, Range keys, Number* scores, std::int64_t scores_row) {
        Arithmetic::multiply(query.finite && finite_keys_, scores, scores_row, query.from(row),
                             key_panels_, depth_, keys);
        scale_rows<Arithmetic::rows>(scores, scores_row, keys.size(),
                                     Number(Arithmetic::of_scores(request_.scale)));
    }

    StripRows<Storage, Arithmetic> query;

   private:
    const Request& request_;
    std::int64_t depth_;  // operands of a key
    Operand* key_panels_ = nullptr;
    bool finite_keys_ = true;
};

template <class Storage, class Arithmetic>
class DotProductGradients {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;

    DotProductGradients(const Request& request, const StripSizes<Number>& sizes, bool listed,
                        Pieces<Number>& pieces)
        : request_(request), sizes_(sizes) {
        if (request.score == ScoreKind::dot_product) keys_ = {sizes, sizes.width, listed, pieces};
    }

    void begin(Lead lead, const Ranges& keys) {
        keys_.finite = true;
        for (const Range& range : keys)
            keys_.take(block_of_keys<Storage>(request_, lead, range), range);
    }

    void add(const Strip& strip, const DotProduct<Storage, Arithmetic>& score,
             const Cells<Operand>& cells, Number* query_gradient, Number* key_gradient) const {
        const std::int64_t width = sizes_.width;
        add_to_queries(strip, cells, query_gradient);
        strip.for_each_keys([&](Range keys, std::int64_t column) {
            Arithmetic::add_columns(score.query.finite, key_gradient + keys.start * width,
                                    cells.gradient_columns, column, keys.size(), cells.row,
                                    sizes_.rows, score.query.terms, strip.rows(), width);
        });
    }

    // From a row of gradients of which few are not 0.
    void add_listed(const DotProduct<Storage, Arithmetic>& score, std::int64_t row,
                    Sparse<Number> gradients, Number* query_gradient, Number* key_gradient) const {
        const std::int64_t width = sizes_.width;
        add_product(query_gradient + row * width, gradients, keys_.numbers, width);
        add_outer_product(key_gradient, gradients, score.query.numbers + row * width, width);
    }

   private:
    void add_to_queries(const Strip& strip, const Cells<Operand>& cells,
                        Number* query_gradient) const {
        constexpr std::int64_t step = strip_tile_columns;
        const std::int64_t width = sizes_.width;
        LongSums<Number> long_sums(query_gradient,
                                   rounded_up(strip.rows(), Arithmetic::rows) * width,
                                   (strip.columns() + step - 1) / step);
        strip.for_each_keys(step, [&](Range keys, std::int64_t column) {
            const Operand* gradients = cells.gradient_rows + Arithmetic::operands(column);
            for (std::int64_t row = 0; row < strip.rows(); row += Arithmetic::rows)
                Arithmetic::add(keys_.finite, query_gradient + row * width,
                                {gradients + row * cells.operands_row, cells.operands_row, 1},
                                keys_.from(keys.start), Arithmetic::operands(keys.size()), width);
            long_sums.added();
        });
        long_sums.finish();
    }

    const Request& request_;
    const StripSizes<Number>& sizes_;
    KeyTerms<Storage, Arithmetic> keys_;
};

}  // namespace qkv::QKV_ISA
