// What changes the scores of one head before they are normalised: numbers that are added, of places
// or of distances, and bending under a limit. They apply in the order in which they were given.
#pragma once

#include "tanh.h"
#include "visible.h"

namespace qkv::QKV_ISA {

// One row of the cells that a bias is applied to. Those from `known` on stand for no key: there a
// bias has no numbers.
struct BiasRow {
    std::int64_t query, key;  // of the first cell
    std::int64_t count, known;
};

template <class Number>
class Biases {
   public:
    QKV_INLINE Biases(const Request& request, Lead lead) : request_(request), lead_(lead) {}

    QKV_INLINE bool empty() const { return request_.bias_count == 0; }

    // How many soft caps there are: each has a slope for every cell, which gradients need.
    static int slopes(const Request& request) {
        int found = 0;
        for (int i = 0; i < request.bias_count; ++i)
            found += request.biases[i].kind == BiasKind::soft_cap;
        return found;
    }

    // Scores become biased scores times `factor`: one row of cells, `row` apart, for each of these
    // queries, one column for each of these keys, a multiple of the lanes. Where `slopes` are given,
    // the first soft cap's take the cells' places there, those of others are `step` further each.
    void apply(Range queries, Range keys, Number factor, Number* cells, std::int64_t row,
               Number* slopes = nullptr, std::int64_t step = 0) const {
        for (int i = 0; i < request_.bias_count; ++i) {
            const Bias& bias = request_.biases[i];
            const Number last = i == request_.bias_count - 1 ? factor : 1;
            for (std::int64_t query = queries.start; query < queries.stop; ++query) {
                const std::int64_t place = (query - queries.start) * row;
                const BiasRow cut = row_of_cells(query, keys);
                if (bias.kind != BiasKind::soft_cap)
                    add(bias, cut, last, cells + place);
                else if (slopes)
                    bend<true>(bias, cut.count, last, cells + place, slopes + place);
                else
                    bend<false>(bias, cut.count, last, cells + place, nullptr);
            }
            if (slopes && bias.kind == BiasKind::soft_cap) slopes += step;
        }
    }

    // Gradients of biased scores become those of scores; hidden cells have 0 there. `sums` takes the
    // gradients of the biases' numbers: it is told a bias, the first cell of a row and its gradients.
    template <class Sums>
    void differentiate(Range queries, Range keys, Number* gradients, std::int64_t row,
                       const Number* slopes, std::int64_t step, Sums&& sums) const {
        const Number* of_cap = slopes + Biases::slopes(request_) * step;
        for (int i = request_.bias_count - 1; i >= 0; --i) {
            const Bias& bias = request_.biases[i];
            const bool is_cap = bias.kind == BiasKind::soft_cap;
            if (is_cap) of_cap -= step;
            if (!is_cap && !bias.gradient.data) continue;
            for (std::int64_t query = queries.start; query < queries.stop; ++query) {
                const std::int64_t place = (query - queries.start) * row;
                const BiasRow cut = row_of_cells(query, keys);
                if (is_cap)
                    scale(cut.count, of_cap + place, gradients + place);
                else
                    sums(i, cut, gradients + place);
            }
        }
    }

    // Where the numbers of a bias lie that belong to a row's cells: side by side, or one for all.
    struct Place {
        std::int64_t offset;
        bool is_shared;
    };

    // In the numbers that `tensor`, the values of a bias or their gradient, has.
    QKV_INLINE Place place(const Bias& bias, const Tensor& tensor, std::int64_t column,
                           const BiasRow& cut) const {
        const std::int64_t head =
            lead_.batch * tensor.batch + lead_.head * tensor.head + lead_.member * tensor.group;
        if (bias.kind == BiasKind::distance)
            return {head + cut.key - position(cut.query) + bias.origin, false};
        return {head + cut.query * tensor.row + cut.key * column, column == 0};
    }

   private:
    QKV_INLINE BiasRow row_of_cells(std::int64_t query, Range keys) const {
        const std::int64_t count = keys.stop - keys.start;
        return {query, keys.start, count, smaller(count, request_.keys - keys.start)};
    }

    QKV_INLINE std::int64_t position(std::int64_t query) const {
        const Tensor& positions = request_.positions;
        if (!positions.data) return query;
        return static_cast<const std::int64_t*>(
            positions.data)[lead_.batch * positions.batch + lead_.head * positions.head +
                            lead_.member * positions.group + query * positions.row];
    }

    void add(const Bias& bias, const BiasRow& cut, Number factor, Number* cells) const {
        const Place at = place(bias, bias.values, bias.column, cut);
        const Number* numbers = static_cast<const Number*>(bias.values.data) + at.offset;
        if (at.is_shared) {
            const Number number = *numbers;
            for (std::int64_t j = 0; j < cut.count; j += lanes<Number>)
                store(cells + j, (load(cells + j) + number) * factor);
            return;
        }
        std::int64_t j = 0;
        for (; j + lanes<Number> <= cut.known; j += lanes<Number>)
            store(cells + j, (load(cells + j) + load(numbers + j)) * factor);
        for (; j < cut.known; ++j) cells[j] = (cells[j] + numbers[j]) * factor;
    }

    // A score of -infinity is hidden, and stays so.
    template <bool WithSlopes>
    static void bend(const Bias& bias, std::int64_t count, Number factor, Number* cells,
                     Number* slopes) {
        const Number inverse = Number(1 / bias.limit), limit = Number(bias.limit) * factor;
        for (std::int64_t j = 0; j < count; j += lanes<Number>) {
            const Vector<Number> score = load(cells + j);
            const Tanh<Number> bent = tanh<Number>(score * inverse);
            store(cells + j, score == -infinity<Number> ? score : bent.value * limit);
            if constexpr (WithSlopes) store(slopes + j, bent.slope);
        }
    }

    // A gradient of exactly 0 annihilates a slope that is not a number.
    static void scale(std::int64_t count, const Number* slopes, Number* gradients) {
        for (std::int64_t j = 0; j < count; j += lanes<Number>) {
            const Vector<Number> gradient = load(gradients + j);
            store(gradients + j,
                  gradient == 0 ? Vector<Number>{} : gradient * load(slopes + j));
        }
    }

    const Request& request_;
    Lead lead_;
};

}  // namespace qkv::QKV_ISA
