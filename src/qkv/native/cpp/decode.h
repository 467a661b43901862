// The forward pass for few queries and many keys, as when a text is written word by word. Its time
// is that of reading keys and values, so each is read once, where it lies, for all the queries of a
// group of heads; and the keys are split into parts, so that all threads read.
#pragma once

#include "arithmetic.h"
#include "long_sums.h"
#include "softmax.h"
#include "tasks.h"

namespace qkv::QKV_ISA {

// `Rows` queries share a load of a key. Widths must be whole vectors of operands.
template <class Storage, int Rows, class Arithmetic = Widened<Storage>>
class Decode {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;

    explicit Decode(const Request& request)
        : request_(request),
          unit_(request.scale * log2_of_e),
          depth_(request.width / Arithmetic::terms),
          queries_(request.group * request.queries),
          rows_(rounded_up(queries_, Rows)) {
        const std::int64_t chunks = (request.keys + chunk - 1) / chunk;
        const std::int64_t wanted = parts_for(request.threads, key_heads(request), 4);
        const std::int64_t parts = larger<std::int64_t>(1, smaller(wanted, chunks / 4));
        part_keys_ = larger<std::int64_t>(1, (chunks + parts - 1) / parts) * chunk;
        parts_ = larger<std::int64_t>(1, (request.keys + part_keys_ - 1) / part_keys_);
    }

    void run() const {
        const std::int64_t heads = key_heads(request_), tasks = heads * parts_;
        const Scratches<Scratch, Decode> scratches(*this, request_.threads);
        const bool is_whole = parts_ == 1;  // then a head is written where it was computed
        const std::int64_t places = is_whole ? request_.threads : tasks;
        Numbers<double> output(places * rows_ * request_.value_width);
        Numbers<RowState<double>> states(places * rows_);
        Numbers<double> factors(places);
        const auto head_at = [&](std::int64_t head, std::int64_t place) {
            return Found{key_head(request_, head), states.data() + place * rows_,
                         output.data() + place * rows_ * request_.value_width,
                         factors.data() + place};
        };
        parallel(request_.threads, tasks, [&](std::int64_t task, int thread) {
            const std::int64_t start = task % parts_ * part_keys_;
            const Found head = head_at(task / parts_, is_whole ? thread : task);
            const Part part = {head.lead,
                               {start, smaller(start + part_keys_, request_.keys)},
                               head.states,
                               head.output};
            const Scratch mine = scratches.of(thread);
            run_part<false>(part, mine);
            if (!is_finite(part)) run_part<true>(part, mine);
            if (is_whole) merge(head);
        });
        if (is_whole) return;
        parallel(request_.threads, heads,
                 [&](std::int64_t head, int) { merge(head_at(head, head * parts_)); });
    }

   private:
    static constexpr std::int64_t chunk = 32;  // keys whose scores are alive at a time
    static constexpr std::int64_t some_values = 8;  // of a chunk, between which memory is asked
    static constexpr int keys_at_once = lanes<Number> / Rows;

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
            : query(pieces.template take_for<Operand>(of.rows_ * of.depth_)),
              scores(pieces.take(of.rows_ * chunk)),
              output(pieces.take(of.rows_ * of.request_.value_width)),
              states(pieces.template take_for<RowState<Number>>(of.rows_)) {}
        Operand* query;
        Number* scores;
        Number* output;            // of a stretch
        RowState<Number>* states;  // likewise
    };

    // Rows of one group are all queries of its first head, then those of the second, and so on.
    Lead lead_of(Lead lead, std::int64_t row) const {
        return {lead.batch, lead.head, row / request_.queries};
    }

    template <bool SkipZeros>
    void run_part(Part part, const Scratch& scratch) const {
        Number *scores = scratch.scores, *output = scratch.output;
        RowState<Number>* states = scratch.states;
        for (std::int64_t row = 0; row < rows_; ++row) {
            part.states[row] = {};
            states[row] = {};
            const std::int64_t known = smaller(row, queries_ - 1);  // padding repeats the last one
            Arithmetic::pack_rows({request_.query, lead_of(part.lead, known),
                                   known % request_.queries, 1, request_.width},
                                  Arithmetic::of_queries(unit_), scratch.query + row * depth_,
                                  depth_, 1);
        }
        for (std::int64_t i = 0; i < rows_ * request_.value_width; ++i) part.output[i] = output[i] = 0;
        std::int64_t chunks = 0;
        for (const Range& seen : keys_of(part.lead)) {
            const Range range = intersection(seen, part.keys);
            for (std::int64_t key = range.start; key < range.stop; key += chunk) {
                const Range keys = {key, smaller(key + chunk, range.stop)};
                score(part.lead, keys, scratch.query, scores);
                hide(part.lead, keys, scores);
                const Range next = {keys.stop, smaller(keys.stop + chunk, range.stop)};
                add_values<SkipZeros>(part.lead, keys, next, scores, states, output);
                if (++chunks % additions_in_a_row == 0) move_rows(part, states, output);
            }
        }
        move_rows(part, states, output);
    }

    void move_rows(const Part& part, RowState<Number>* states, Number* output) const {
        Arithmetic::order_columns(output, rows_ * request_.value_width);
        for (std::int64_t row = 0; row < rows_; ++row)
            move_to(part.states[row], part.output + row * request_.value_width, states[row],
                    output + row * request_.value_width, request_.value_width);
    }

    // What the queries of a group see, in whole chunks.
    Ranges keys_of(Lead lead) const {
        Ranges found;
        for (; lead.member < request_.group; ++lead.member)
            found.add(Visible(request_, lead).keys_of({0, request_.queries}, chunk));
        return found;
    }

    void score(Lead lead, Range keys, const Operand* query, Number* scores) const {
        for (std::int64_t key = keys.start; key < keys.stop; key += keys_at_once) {
            const Storage* key_rows[keys_at_once];
            for (int k = 0; k < keys_at_once; ++k) {
                const std::int64_t known = smaller(key + k, keys.stop - 1);
                key_rows[k] = row_of<Storage>(request_.key, lead, known);
                // Memory works on both streams all the time: on the values while their keys are in
                // work, and on the next keys while the values are.
                prefetch(row_of<Storage>(request_.value, lead, known), request_.value_width);
            }
            for (std::int64_t row = 0; row < rows_; row += Rows)
                score_tile(query + row * depth_, key_rows,
                           scores + row * chunk + key - keys.start);
        }
    }

    static QKV_INLINE void prefetch(const Storage* row, std::int64_t width) {
        for (std::int64_t j = 0; j < width; j += 64 / sizeof(Storage))
            __builtin_prefetch(row + j);
    }

    void score_tile(const Operand* query, const Storage* (&key_rows)[keys_at_once],
                    Number* scores) const {
        Vector<Number> products[lanes<Number>] = {};
        for (std::int64_t d = 0; d < depth_; d += lanes<Number>) {
            Vector<Operand> keys[keys_at_once];
#pragma GCC unroll 16
            for (int k = 0; k < keys_at_once; ++k) keys[k] = Arithmetic::operands_at(key_rows[k], d);
#pragma GCC unroll 8
            for (int i = 0; i < Rows; ++i) {
                const Vector<Operand> queries = widened(query + i * depth_ + d);
#pragma GCC unroll 16
                for (int k = 0; k < keys_at_once; ++k) {
                    Vector<Number>& product = products[i * keys_at_once + k];
                    product = Terms<Operand>::multiply_and_add(queries, keys[k], product);
                }
            }
        }
        const Vector<Number> found = sums<Number>(products);
        Number cells[lanes<Number>];
        store(cells, found);
#pragma GCC unroll 8
        for (int i = 0; i < Rows; ++i)
            __builtin_memcpy(scores + i * chunk, cells + i * keys_at_once,
                             keys_at_once * sizeof(Number));
    }

    void hide(Lead lead, Range keys, Number* scores) const {
        for (std::int64_t row = 0; row < rows_; ++row) {
            Number* of_row = scores + row * chunk;
            const std::int64_t known = smaller(row, queries_ - 1);
            const std::int64_t query = known % request_.queries;
            const Visible visible(request_, lead_of(lead, known));
            visible.hide({query, query + 1}, {keys.start, keys.start + chunk}, of_row, chunk,
                         -infinity<Number>);
            for (std::int64_t j = keys.stop - keys.start; j < chunk; ++j)
                of_row[j] = -infinity<Number>;  // they belong to the next part
        }
    }

    // The values of these keys, while the next ones are on their way.
    template <bool SkipZeros>
    void add_values(Lead lead, Range keys, Range next, Number* scores, RowState<Number>* states,
                    Number* output) const {
        for (std::int64_t row = 0; row < rows_; row += Rows) {
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

    // Whether the sums are finite. If not, a value that is not may have met a weight of 0.
    bool is_finite(Part part) const {
        double probe = 0;
        for (std::int64_t i = 0; i < queries_ * request_.value_width; ++i)
            probe += part.output[i] * 0;
        return probe == 0;
    }

    void merge(const Found& head) const {
        for (std::int64_t row = 0; row < queries_; ++row) {
            const RowState<double>* states = head.states + row;
            const double* output = head.output + row * request_.value_width;
            RowState<double> whole;
            for (std::int64_t part = 0; part < parts_; ++part)
                whole.raise(states[part * rows_].maximum);
            for (std::int64_t part = 0; part < parts_; ++part) {
                const RowState<double>& state = states[part * rows_];
                head.factors[part] = exp2_of(state.maximum - whole.shift());
                whole.total += head.factors[part] * state.total;
            }
            const Lead own = lead_of(head.lead, row);
            Number* to = row_of<Number>(request_.output, own, row % request_.queries);
            for (std::int64_t j = 0; j < request_.value_width; ++j) {
                double found = 0;
                for (std::int64_t part = 0; part < parts_; ++part) {
                    const double factor = head.factors[part];
                    if (factor != 0) found += factor * output[part * rows_ * request_.value_width + j];
                }
                to[j] = Number(found * whole.inverse());
            }
            if (request_.logsumexp.data)
                *row_of<double>(request_.logsumexp, own, row % request_.queries) = whole.logsumexp();
        }
    }

    const Request& request_;
    double unit_;                  // of scores, powers of two
    std::int64_t depth_;           // operands of a key
    std::int64_t queries_, rows_;  // of one group, and rounded up to whole tiles
    std::int64_t part_keys_, parts_;
};

}  // namespace qkv::QKV_ISA
