// The forward pass for few queries and many keys, as when a text is written word by word. Its time
// is that of reading keys and values, so each is read once, where it lies, for all the queries of a
// group of heads; and the keys are split into parts, so that all threads read.
#pragma once

#include "arithmetic.h"
#include "long_sums.h"
#include "softmax.h"
#include "tasks.h"

namespace qkv::QKV_ISA {

// `Rows` queries share a load of a key. Widths must be multiples of the lanes.
template <class Storage, int Rows>
class Decode {
   public:
    using Number = Real<Storage>;

    explicit Decode(const Request& request)
        : request_(request),
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
        Numbers<double> output(tasks * rows_ * request_.value_width);
        Numbers<RowState<double>> states(tasks * rows_);
        parallel(request_.threads, tasks, [&](std::int64_t task, int thread) {
            const std::int64_t start = task % parts_ * part_keys_;
            const Part part = {key_head(request_, task / parts_),
                               {start, smaller(start + part_keys_, request_.keys)},
                               states.data() + task * rows_,
                               output.data() + task * rows_ * request_.value_width};
            const Scratch mine = scratches.of(thread);
            run_part<false>(part, mine);
            if (!is_finite(part)) run_part<true>(part, mine);
        });
        parallel(request_.threads, heads, [&](std::int64_t head, int) {
            for (std::int64_t row = 0; row < queries_; ++row)
                merge(key_head(request_, head), row, states.data() + head * parts_ * rows_ + row,
                      output.data() + (head * parts_ * rows_ + row) * request_.value_width);
        });
    }

   private:
    static constexpr std::int64_t chunk = 32;  // keys whose scores are alive at a time
    static constexpr int keys_at_once = lanes<Number> / Rows;

    // A stretch of the keys of one head, and what becomes of it: for each query its state and the
    // sum of the values.
    struct Part {
        Lead lead;
        Range keys;
        RowState<double>* states;
        double* output;
    };

    struct Scratch {
        Scratch(const Decode& of, Pieces<Number>& pieces)
            : query(pieces.take(of.rows_ * of.request_.width)),
              scores(pieces.take(of.rows_ * chunk)),
              output(pieces.take(of.rows_ * of.request_.value_width)),
              states(pieces.template take_for<RowState<Number>>(of.rows_)) {}
        Number *query, *scores;
        Number* output;            // of a stretch
        RowState<Number>* states;  // likewise
    };

    // Rows of one group are all queries of its first head, then those of the second, and so on.
    Lead lead_of(Lead lead, std::int64_t row) const {
        return {lead.batch, lead.head, row / request_.queries};
    }

    template <bool SkipZeros>
    void run_part(Part part, const Scratch& scratch) const {
        Number *query = scratch.query, *scores = scratch.scores, *output = scratch.output;
        RowState<Number>* states = scratch.states;
        for (std::int64_t row = 0; row < rows_; ++row) {
            part.states[row] = {};
            states[row] = {};
            const std::int64_t known = smaller(row, queries_ - 1);  // padding repeats the last one
            pack(Block<Storage>{request_.query, lead_of(part.lead, known), known % request_.queries,
                                1, request_.width},
                 Number(request_.scale * log2_of_e), query + row * request_.width, request_.width, 1);
        }
        for (std::int64_t i = 0; i < rows_ * request_.value_width; ++i) part.output[i] = output[i] = 0;
        std::int64_t chunks = 0;
        for (const Range& seen : keys_of(part.lead)) {
            const Range range = intersection(seen, part.keys);
            for (std::int64_t key = range.start; key < range.stop; key += chunk) {
                const Range keys = {key, smaller(key + chunk, range.stop)};
                score(part.lead, keys, query, scores);
                hide(part.lead, keys, scores);
                // Memory works on both streams all the time: on the values while their keys are in
                // work, and on the keys of the next chunk while these values are.
                for (std::int64_t next = keys.stop; next < smaller(keys.stop + chunk, range.stop); ++next)
                    prefetch(row_of<Storage>(request_.key, part.lead, next), request_.width);
                add_values<SkipZeros>(part.lead, keys, scores, states, output);
                if (++chunks % additions_in_a_row == 0) move_rows(part, states, output);
            }
        }
        move_rows(part, states, output);
    }

    void move_rows(const Part& part, RowState<Number>* states, Number* output) const {
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

    void score(Lead lead, Range keys, const Number* query, Number* scores) const {
        for (std::int64_t key = keys.start; key < keys.stop; key += keys_at_once) {
            const Storage* key_rows[keys_at_once];
            for (int k = 0; k < keys_at_once; ++k) {
                const std::int64_t known = smaller(key + k, keys.stop - 1);
                key_rows[k] = row_of<Storage>(request_.key, lead, known);
                prefetch(row_of<Storage>(request_.value, lead, known), request_.value_width);
            }
            for (std::int64_t row = 0; row < rows_; row += Rows)
                score_tile(query + row * request_.width, key_rows,
                           scores + row * chunk + key - keys.start);
        }
    }

    // Into the second-level cache.
    static QKV_INLINE void prefetch(const Storage* row, std::int64_t width) {
        for (std::int64_t j = 0; j < width; j += 64 / sizeof(Storage))
            __builtin_prefetch(row + j, 0, 2);
    }

    void score_tile(const Number* query, const Storage* (&key_rows)[keys_at_once],
                    Number* scores) const {
        Vector<Number> products[lanes<Number>] = {};
        for (std::int64_t d = 0; d < request_.width; d += lanes<Number>) {
            Vector<Number> keys[keys_at_once];
#pragma GCC unroll 16
            for (int k = 0; k < keys_at_once; ++k) keys[k] = widened(key_rows[k] + d);
#pragma GCC unroll 8
            for (int i = 0; i < Rows; ++i) {
                Vector<Number> queries = load(query + i * request_.width + d);
#pragma GCC unroll 16
                for (int k = 0; k < keys_at_once; ++k)
                    products[i * keys_at_once + k] += queries * keys[k];
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

    template <bool SkipZeros>
    void add_values(Lead lead, Range keys, Number* scores, RowState<Number>* states,
                    Number* output) const {
        const Storage* value = row_of<Storage>(request_.value, lead, keys.start);
        for (std::int64_t row = 0; row < rows_; row += Rows) {
            Number factors[Rows];
            weigh<Rows, Widened<Storage>>(scores + row * chunk, chunk, chunk, Number(1),
                                           states + row, factors);
            rescale_and_add<SkipZeros, Rows>(output + row * request_.value_width,
                                             request_.value_width, factors,
                                             Strided<Number>{scores + row * chunk, chunk, 1}, value,
                                             request_.value.row, keys.stop - keys.start,
                                             request_.value_width);
        }
    }

    // Whether the sums are finite. If not, a value that is not may have met a weight of 0.
    bool is_finite(Part part) const {
        double probe = 0;
        for (std::int64_t i = 0; i < queries_ * request_.value_width; ++i)
            probe += part.output[i] * 0;
        return probe == 0;
    }

    // The parts of one row, in their order.
    void merge(Lead lead, std::int64_t row, const RowState<double>* states,
               const double* output) const {
        RowState<double> whole;
        for (std::int64_t part = 0; part < parts_; ++part)
            whole.raise(states[part * rows_].maximum);
        Numbers<double> factors(parts_);
        for (std::int64_t part = 0; part < parts_; ++part) {
            const RowState<double>& state = states[part * rows_];
            factors.data()[part] = exp2_of(state.maximum - whole.shift());
            whole.total += factors.data()[part] * state.total;
        }
        const Lead own = lead_of(lead, row);
        Number* to = row_of<Number>(request_.output, own, row % request_.queries);
        for (std::int64_t j = 0; j < request_.value_width; ++j) {
            double found = 0;
            for (std::int64_t part = 0; part < parts_; ++part) {
                const double factor = factors.data()[part];
                if (factor != 0) found += factor * output[part * rows_ * request_.value_width + j];
            }
            to[j] = Number(found * whole.inverse());
        }
        if (request_.logsumexp.data)
            *row_of<double>(request_.logsumexp, own, row % request_.queries) = whole.logsumexp();
    }

    const Request& request_;
    std::int64_t queries_, rows_;  // of one group, and rounded up to whole tiles
    std::int64_t part_keys_, parts_;
};

}  // namespace qkv::QKV_ISA
