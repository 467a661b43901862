// The forward pass for few queries and many keys. Parts of a head merge by their logsumexp.
#pragma once

#include "few_queries.h"
#include "long_sums.h"

namespace qkv::QKV_ISA {

template <class Storage, int Rows, class Arithmetic = Widened<Storage>>
class Decode {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;

    explicit Decode(const Request& request)
        : request_(request), unit_(request.scale * log2_of_e), few_(request) {}

    void run() const {
        const std::int64_t heads = key_heads(request_), tasks = heads * few_.parts;
        const Scratches<Scratch, Decode> scratches(*this, request_.threads);
        const bool is_whole = few_.parts == 1;  // then a head is written where it was computed
        const std::int64_t places = is_whole ? request_.threads : tasks;
        Numbers<double> output(places * few_.rows * request_.value_width);
        Numbers<RowState<double>> states(places * few_.rows);
        Numbers<double> factors(places);
        const auto head_at = [&](std::int64_t head, std::int64_t place) {
            return Found{key_head(request_, head), states.data() + place * few_.rows,
                         output.data() + place * few_.rows * request_.value_width,
                         factors.data() + place};
        };
        parallel(request_.threads, tasks, [&](std::int64_t task, int thread) {
            const Found head = head_at(task / few_.parts, is_whole ? thread : task);
            const Part part = {head.lead, few_.keys_of_part(task % few_.parts), head.states,
                               head.output};
            const Scratch mine = scratches.of(thread);
            run_part<false>(part, mine);
            // Where sums are not finite, a value that is not may have met a weight of 0.
            if (!all_finite(part.output, few_.queries * request_.value_width))
                run_part<true>(part, mine);
            if (is_whole) merge(head);
        });
        if (is_whole) return;
        parallel(request_.threads, heads,
                 [&](std::int64_t head, int) { merge(head_at(head, head * few_.parts)); });
    }

   private:
    using Few = FewQueries<Storage, Rows, Arithmetic>;
    static constexpr std::int64_t chunk = Few::chunk;
    static constexpr std::int64_t some_values = 8;  // of a chunk, between which memory is asked

    // A stretch of the keys of one head, and what becomes of it: for each query its state and the
    // sum of the values.
    struct Part {
        Lead lead;
        Range keys;
        RowState<double>* states;
        double* output;
    };

    // What was found of all parts of a head, in their order, and room for a number of each.
    struct Found {
        Lead lead;
        RowState<double>* states;
        double* output;
        double* factors;
    };

    struct Scratch {
        Scratch(const Decode& of, Pieces<Number>& pieces)
            : query(pieces.template take_for<Operand>(of.few_.operands(of.request_.width))),
              scores(pieces.take(of.few_.rows * chunk)),
              output(pieces.take(of.few_.rows * of.request_.value_width)),
              states(pieces.template take_for<RowState<Number>>(of.few_.rows)) {}
        Operand* query;
        Number* scores;
        Number* output;            // of a stretch
        RowState<Number>* states;  // likewise
    };

    template <bool SkipZeros>
    void run_part(Part part, const Scratch& scratch) const {
        Number *scores = scratch.scores, *output = scratch.output;
        RowState<Number>* states = scratch.states;
        for (std::int64_t row = 0; row < few_.rows; ++row) {
            part.states[row] = {};
            states[row] = {};
        }
        few_.pack(request_.query, part.lead, Arithmetic::of_queries(unit_), request_.width,
                  scratch.query);
        clear(part.output, few_.rows * request_.value_width);
        clear(output, few_.rows * request_.value_width);
        std::int64_t chunks = 0;
        for (const Range& seen : few_.seen(part.lead)) {
            const Range range = intersection(seen, part.keys);
            for (std::int64_t key = range.start; key < range.stop; key += chunk) {
                const Range keys = {key, smaller(key + chunk, range.stop)};
                // Memory works on both streams all the time: on the values while their keys are in
                // work, and on the next keys while the values are.
                few_.multiply(scratch.query, request_.key, part.lead, keys, request_.width, scores,
                              [&](std::int64_t key) {
                                  prefetch(row_of<Storage>(request_.value, part.lead, key),
                                           request_.value_width);
                              });
                few_.hide(part.lead, keys, scores);
                const Range next = {keys.stop, smaller(keys.stop + chunk, range.stop)};
                add_values<SkipZeros>(part.lead, keys, next, scores, states, output);
                if (++chunks % additions_in_a_row == 0) move_rows(part, states, output);
            }
        }
        move_rows(part, states, output);
    }

    void move_rows(const Part& part, RowState<Number>* states, Number* output) const {
        Arithmetic::order_columns(output, few_.rows * request_.value_width);
        for (std::int64_t row = 0; row < few_.rows; ++row)
            move_to(part.states[row], part.output + row * request_.value_width, states[row],
                    output + row * request_.value_width, request_.value_width);
    }

    static QKV_INLINE void prefetch(const Storage* row, std::int64_t width) {
        for (std::int64_t j = 0; j < width; j += 64 / sizeof(Storage))
            __builtin_prefetch(row + j);
    }

    // The values of these keys, while the next ones are on their way.
    template <bool SkipZeros>
    void add_values(Lead lead, Range keys, Range next, Number* scores, RowState<Number>* states,
                    Number* output) const {
        for (std::int64_t row = 0; row < few_.rows; row += Rows) {
            Number factors[Rows];
            Number* weights = scores + row * chunk;
            Operand* operands = reinterpret_cast<Operand*>(weights);
            weigh<Rows, Arithmetic>(weights, chunk, Weights<Operand>{operands, chunk}, chunk,
                                    Number(Arithmetic::of_scores(unit_)), states + row, factors);
            for (std::int64_t k = 0; k < keys.size(); k += some_values) {
                if (row == 0) prefetch_keys(lead, {next.start + k, next.start + k + some_values}, next);
                Arithmetic::template add_rows<SkipZeros, Rows>(
                    output + row * request_.value_width, factors,
                    {operands + k / Arithmetic::terms, chunk, 1},
                    row_of<Storage>(request_.value, lead, keys.start + k), request_.value.row,
                    smaller(some_values, keys.size() - k), request_.value_width);
                for (Number& factor : factors) factor = 1;
            }
        }
    }

    // Inline, for the compiler leaves out calls of a function that does nothing else.
    QKV_INLINE void prefetch_keys(Lead lead, Range some, Range all) const {
        for (std::int64_t key = some.start; key < smaller(some.stop, all.stop); ++key)
            prefetch(row_of<Storage>(request_.key, lead, key), request_.width);
    }

    void merge(const Found& head) const {
        for (std::int64_t row = 0; row < few_.queries; ++row) {
            const RowState<double>* states = head.states + row;
            const double* output = head.output + row * request_.value_width;
            RowState<double> whole;
            for (std::int64_t part = 0; part < few_.parts; ++part)
                whole.raise(states[part * few_.rows].maximum);
            for (std::int64_t part = 0; part < few_.parts; ++part) {
                const RowState<double>& state = states[part * few_.rows];
                head.factors[part] = exp2_of(state.maximum - whole.shift());
                whole.total += head.factors[part] * state.total;
            }
            const Lead own = few_.lead_of(head.lead, row);
            Number* to = row_of<Number>(request_.output, own, row % request_.queries);
            for (std::int64_t j = 0; j < request_.value_width; ++j) {
                double found = 0;
                for (std::int64_t part = 0; part < few_.parts; ++part) {
                    const double factor = head.factors[part];
                    if (factor != 0) found += factor * output[part * few_.rows * request_.value_width + j];
                }
                to[j] = Number(found * whole.inverse());
            }
            if (request_.logsumexp.data)
                *row_of<double>(request_.logsumexp, own, row % request_.queries) = whole.logsumexp();
        }
    }

    const Request& request_;
    double unit_;  // of scores, powers of two
    Few few_;
};

}  // namespace qkv::QKV_ISA
