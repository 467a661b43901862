// The score that a request asks for, of a strip's queries against keys, before biases; and its
// derivative.
#pragma once

#include "additive.h"
#include "dot_product.h"
#include "gaussian.h"

namespace qkv::QKV_ISA {

// Other scores have no inner products of queries and keys: only plain numbers serve them.
template <class Arithmetic>
constexpr bool has_others = Arithmetic::rows_are_terms;

// Keeps the keys of a task and the queries of a strip in the form in which they are compared.
// Without memory the pieces are only counted.
template <class Storage, class Arithmetic>
class Scores {
   public:
    using Number = Real<Storage>;

    Scores(const Request& request, const StripSizes<Number>& sizes, bool differentiated,
           bool listed, Pieces<Number>& pieces)
        : dot_product(request, sizes, differentiated, listed, pieces),
          additive(request, sizes, pieces),
          gaussian(request, sizes, pieces),
          kind_(request.score) {}

    // Whole panels of keys, which hold all of the strips to come.
    void take_keys(Lead lead, const Ranges& keys) {
        of_kind([&](auto& score) { score.take_keys(lead, keys); });
    }

    void take_queries(Lead lead, Range queries) {
        of_kind([&](auto& score) { score.take_queries(lead, queries); });
    }

    // The scores of a step's queries, from row `row` of the strip on, and whole panels of keys; rows
    // of scores lie `scores_row` apart.
    void compute(std::int64_t row, Range keys, Number* scores, std::int64_t scores_row) {
        of_kind([&](auto& score) { score.compute(row, keys, scores, scores_row); });
    }

    // The one that is asked for, and others without memory.
    DotProduct<Storage, Arithmetic> dot_product;
    Additive<Storage> additive;
    Gaussian<Storage> gaussian;

   private:
    template <class Work>
    void of_kind(Work work) {
        switch (kind_) {
            case ScoreKind::dot_product: return work(dot_product);
            case ScoreKind::additive:
                if constexpr (has_others<Arithmetic>) work(additive);
                return;
            case ScoreKind::gaussian:
                if constexpr (has_others<Arithmetic>) work(gaussian);
                return;
        }
    }

    ScoreKind kind_;
};

template <class Storage, class Arithmetic>
class ScoreGradients {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;

    ScoreGradients(const Request& request, const StripSizes<Number>& sizes, bool listed,
                   Pieces<Number>& pieces)
        : kind_(request.score), dot_product_(request, sizes, listed, pieces),
          additive_(request, sizes, pieces), gaussian_(request, sizes, pieces) {}

    // How many numbers a task sums for the weight of the score.
    static std::int64_t weights(const Request& request) {
        switch (request.score) {
            case ScoreKind::dot_product:
            case ScoreKind::gaussian: return 0;
            case ScoreKind::additive: return request.width;
        }
        return 0;
    }

    // Reads the keys of a task, whose sums for the weight begin anew.
    void begin(Lead lead, const Ranges& keys, double* weight_sums) {
        switch (kind_) {
            case ScoreKind::dot_product: return dot_product_.begin(lead, keys);
            case ScoreKind::additive:
                if constexpr (has_others<Arithmetic>) additive_.begin(lead, keys, weight_sums);
                return;
            case ScoreKind::gaussian:
                if constexpr (has_others<Arithmetic>) gaussian_.begin(lead, keys);
                return;
        }
    }

    // From the gradients of a strip's scores. Adds to the gradients of the strip's queries and of
    // all keys, which lack their factors.
    void add(const Strip& strip, const Scores<Storage, Arithmetic>& scores,
             const Cells<Operand>& cells, Number* query_gradient, Number* key_gradient) {
        switch (kind_) {
            case ScoreKind::dot_product:
                return dot_product_.add(strip, scores.dot_product, cells, query_gradient,
                                        key_gradient);
            case ScoreKind::additive:
                if constexpr (has_others<Arithmetic>)
                    additive_.add(strip, scores.additive, cells.gradients, query_gradient,
                                  key_gradient);
                return;
            case ScoreKind::gaussian:
                if constexpr (has_others<Arithmetic>)
                    gaussian_.add(strip, scores.gaussian, cells.gradients, query_gradient,
                                  key_gradient);
                return;
        }
    }

    // Whether it is quicker to take the few gradients of a row that are not 0 by themselves.
    bool prefers_lists() const {
        switch (kind_) {
            case ScoreKind::dot_product: return true;
            case ScoreKind::additive:
            case ScoreKind::gaussian: return false;
        }
        return false;
    }

    void add_listed(const Scores<Storage, Arithmetic>& scores, std::int64_t row,
                    Sparse<Number> gradients, Number* query_gradient, Number* key_gradient) const {
        dot_product_.add_listed(scores.dot_product, row, gradients, query_gradient, key_gradient);
    }

    // What the sums for a query and for a key are to be multiplied with.
    static Number query_factor(const Request& request, std::int64_t d) {
        switch (request.score) {
            case ScoreKind::dot_product:
            case ScoreKind::gaussian: return Number(request.scale);
            case ScoreKind::additive: return AdditiveGradients<Storage>::factor(request, d);
        }
        return 1;
    }

    static Number key_factor(const Request& request, std::int64_t d) {
        switch (request.score) {
            case ScoreKind::dot_product:
                return Number(Arithmetic::of_key_gradients(request.scale, 1));
            case ScoreKind::gaussian: return Number(request.scale);
            case ScoreKind::additive: return AdditiveGradients<Storage>::factor(request, d);
        }
        return 1;
    }

   private:
    ScoreKind kind_;
    DotProductGradients<Storage, Arithmetic> dot_product_;
    AdditiveGradients<Storage> additive_;
    GaussianGradients<Storage> gaussian_;
};

}  // namespace qkv::QKV_ISA
