// The backward pass for few queries and many keys: the gradients of keys and values are written where
// they lie, once, while key and value are read.
#pragma once

#include "few_queries.h"
#include "long_sums.h"
#include "row_terms.h"

namespace qkv::QKV_ISA {

template <class Storage, int Rows>
class DecodeBackward {
   public:
    using Number = Real<Storage>;

    explicit DecodeBackward(const Request& request) : request_(request), few_(request) {}

    void run() const {
        const std::int64_t tasks = key_heads(request_) * few_.parts;
        const Scratches<Scratch, DecodeBackward> scratches(*this, request_.threads);
        const bool is_whole = few_.parts == 1;  // then a head is done when its task is
        const std::int64_t numbers = few_.rows * request_.width;  // of the queries of a group
        Numbers<double> gradients((is_whole ? request_.threads : tasks) * numbers);
        parallel(request_.threads, tasks, [&](std::int64_t task, int thread) {
            const Part part = {key_head(request_, task / few_.parts),
                               few_.keys_of_part(task % few_.parts),
                               gradients.data() + (is_whole ? thread : task) * numbers};
            run_part(part, scratches.of(thread));
            if (is_whole) finish(part.lead, part.query_gradient);
        });
        if (is_whole) return;
        parallel(request_.threads, key_heads(request_), [&](std::int64_t head, int) {
            finish(key_head(request_, head), gradients.data() + head * few_.parts * numbers);
        });
    }

   private:
    using Few = FewQueries<Storage, Rows, Widened<Storage>>;
    static constexpr std::int64_t chunk = Few::chunk;
    static constexpr int some_keys = 4;  // whose gradients are computed together

    struct Part {
        Lead lead;
        Range keys;
        double* query_gradient;  // of these keys
    };

    struct Scratch {
        Scratch(const DecodeBackward& of, Pieces<Number>& pieces)
            : query(pieces.take(of.few_.operands(of.request_.width))),
              output_gradient(pieces.take(of.few_.operands(of.request_.value_width))),
              weights(pieces.take(of.few_.rows * chunk)),
              gradients(pieces.take(of.few_.rows * chunk)),
              query_gradient(pieces.take(of.few_.operands(of.request_.width))),
              terms(pieces.template take_for<RowTerms<Number>>(of.few_.rows)) {}
        Number *query, *output_gradient;
        Number *weights, *gradients;  // of some keys; the gradients of their scores
        Number* query_gradient;       // of a stretch
        RowTerms<Number>* terms;
    };

    void run_part(const Part& part, const Scratch& scratch) const {
        Lead lead = part.lead;
        for (; lead.member < request_.group; ++lead.member)
            find_terms<Storage>(request_, lead, scratch.terms + lead.member * request_.queries);
        const double unit = request_.scale * log2_of_e;
        const bool finite_queries =
            few_.pack(request_.query, part.lead, unit, request_.width, scratch.query);
        const bool finite_gradients = few_.pack(request_.output_gradient, part.lead, 1,
                                                request_.value_width, scratch.output_gradient);
        const bool finite = finite_queries && finite_gradients;
        if (finite) run_keys<false>(part, scratch);
        // Where sums over keys are not finite, a key that is not may have met a weight of 0.
        if (!finite || !all_finite(part.query_gradient, few_.queries * request_.width))
            run_keys<true>(part, scratch);
    }

    // With SkipZeros a weight of 0 annihilates whatever it meets.
    template <bool SkipZeros>
    void run_keys(const Part& part, const Scratch& scratch) const {
        const std::int64_t numbers = few_.operands(request_.width);
        clear(part.query_gradient, numbers);
        clear(scratch.query_gradient, numbers);
        std::int64_t chunks = 0, written = part.keys.start;
        for (const Range& seen : few_.seen(part.lead)) {
            const Range range = intersection(seen, part.keys);
            if (range.empty()) continue;
            write_zeros(part.lead, {written, range.start});
            written = range.stop;
            for (std::int64_t key = range.start; key < range.stop; key += chunk) {
                const Range keys = {key, smaller(key + chunk, range.stop)};
                find_cells(part.lead, keys, scratch);
                write<SkipZeros>(request_.value_gradient, part.lead, keys, scratch.weights,
                                 scratch.output_gradient, request_.value_width, 1);
                write<SkipZeros>(request_.key_gradient, part.lead, keys, scratch.gradients,
                                 scratch.query, request_.width, Number(1 / log2_of_e));
                add_query_gradient<SkipZeros>(part.lead, keys, scratch);
                if (++chunks % additions_in_a_row == 0) move(part, scratch);
            }
        }
        move(part, scratch);
        write_zeros(part.lead, {written, part.keys.stop});
    }

    // The weights and the gradients of the scores.
    void find_cells(Lead lead, Range keys, const Scratch& scratch) const {
        const auto nothing = [](std::int64_t) {};
        few_.multiply(scratch.query, request_.key, lead, keys, request_.width, scratch.weights,
                      nothing);
        few_.multiply(scratch.output_gradient, request_.value, lead, keys, request_.value_width,
                      scratch.gradients, nothing);
        few_.hide(lead, keys, scratch.weights);
        for (std::int64_t row = 0; row < few_.queries; ++row)
            scratch.terms[row].differentiate(chunk, 1, scratch.weights + row * chunk,
                                             scratch.gradients + row * chunk);
        const std::int64_t first = few_.queries * chunk, padding = few_.rows * chunk - first;
        clear(scratch.weights + first, padding);
        clear(scratch.gradients + first, padding);
    }

    // The gradients of some keys or values: factor * cells^T rows.
    template <bool SkipZeros>
    void write(const Tensor& tensor, Lead lead, Range keys, const Number* cells, const Number* rows,
               std::int64_t width, Number factor) const {
        for (std::int64_t key = 0; key < keys.size(); key += some_keys) {
            const std::int64_t known = smaller<std::int64_t>(some_keys, keys.size() - key);
            for (std::int64_t column = 0; column < width; column += lanes<Number>) {
                const auto found = product<SkipZeros, some_keys, 1>(
                    Strided<Number>{cells + key, 1, chunk},
                    RowByRow<Number, Number>{rows + column, width}, few_.rows);
                for (std::int64_t i = 0; i < known; ++i)
                    narrow_some<Number>(
                        found.at[i][0] * factor, lanes<Number>,
                        row_of<Storage>(tensor, lead, keys.start + key + i) + column);
            }
        }
    }

    void write_zeros(Lead lead, Range keys) const {
        for (std::int64_t key = keys.start; key < keys.stop; ++key) {
            __builtin_memset(row_of<Storage>(request_.key_gradient, lead, key), 0,
                             request_.width * sizeof(Storage));
            __builtin_memset(row_of<Storage>(request_.value_gradient, lead, key), 0,
                             request_.value_width * sizeof(Storage));
        }
    }

    template <bool SkipZeros>
    void add_query_gradient(Lead lead, Range keys, const Scratch& scratch) const {
        Number ones[Rows];
        for (Number& one : ones) one = 1;
        for (std::int64_t row = 0; row < few_.rows; row += Rows)
            rescale_and_add<SkipZeros, Rows>(
                scratch.query_gradient + row * request_.width, request_.width, ones,
                Strided<Number>{scratch.gradients + row * chunk, chunk, 1},
                row_of<Storage>(request_.key, lead, keys.start), request_.key.row, keys.size(),
                request_.width);
    }

    void move(const Part& part, const Scratch& scratch) const {
        for (std::int64_t i = 0; i < few_.operands(request_.width); ++i) {
            part.query_gradient[i] += double(scratch.query_gradient[i]);
            scratch.query_gradient[i] = 0;
        }
    }

    // The gradients of the queries of a group, of all parts in their order.
    void finish(Lead lead, const double* gradients) const {
        const std::int64_t width = request_.width, apart = few_.operands(width);
        for (std::int64_t row = 0; row < few_.queries; ++row) {
            Storage* to = row_of<Storage>(request_.query_gradient, few_.lead_of(lead, row),
                                          row % request_.queries);
            for (std::int64_t j = 0; j < width; ++j) {
                double total = 0;
                for (std::int64_t part = 0; part < few_.parts; ++part)
                    total += gradients[part * apart + row * width + j];
                narrow(Number(total * request_.scale), to + j);
            }
        }
    }

    const Request& request_;
    Few few_;
};

}  // namespace qkv::QKV_ISA
