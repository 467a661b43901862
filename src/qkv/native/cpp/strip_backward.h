// The backward pass strip by strip: weights are computed again, their gradients become those of the
// scores in place, and both are multiplied with what they met.
//
//   value_gradient = weights^T output_gradient
//
// and what scores/ has for queries and keys.
//
// Each query belongs to one task. To the gradients of keys and values, of biases and parameters many
// tasks add: each has a copy of its own, and copies are added in a fixed order.
#pragma once

#include "bias_gradient.h"
#include "sparse.h"
#include "strip_weights.h"

namespace qkv::QKV_ISA {

template <class Storage, class Arithmetic = Widened<Storage>>
class StripBackward {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;

    explicit StripBackward(const Request& request)
        : request_(request),
          joins_heads_(BiasSums<Number>::joins_heads(request)),
          sizes_(request, step, 2 + Biases<Number>::slopes(request), joins_heads_),
          value_depth_(Arithmetic::operands(request.value_width)),
          key_numbers_(sizes_.keys * sizes_.width),
          value_numbers_(sizes_.keys * sizes_.value_width) {}

    void run() const {
        const std::int64_t heads = key_heads(request_), tasks = heads * sizes_.parts;
        const Scratches<Scratch, StripBackward> scratches(*this, request_.threads);
        // A task that has a key head to itself writes its gradients when it is done.
        const bool alone = sizes_.parts == 1;
        const std::int64_t copy = key_numbers_ + value_numbers_;
        Numbers<Number> copies(copy * (alone ? request_.threads : tasks));
        const SeenKeys seen(alone ? 0 : tasks);
        Numbers<double> parameters(tasks * request_.group);
        const std::int64_t weights = ScoreGradients<Storage, Arithmetic>::weights(request_);
        Numbers<double> weight_sums(tasks * weights);
        const BiasSums<Number> bias_sums(request_, sizes_.parts);
        parallel_parts(request_, sizes_.parts, joins_heads_, [&](std::int64_t task, int thread) {
            Scratch mine = scratches.of(thread);
            mine.key_gradient = copies.data() + copy * (alone ? thread : task);
            mine.value_gradient = mine.key_gradient + key_numbers_;
            mine.parameters = parameters.data() + task * request_.group;
            mine.weight_sums = weight_sums.data() + task * weights;
            mine.task = task;
            mine.bias_sums = &bias_sums;
            const Lead lead = key_head(request_, task / sizes_.parts);
            const std::int64_t part = task % sizes_.parts;
            const Ranges keys = sizes_.keys_of(request_, lead, part);
            if (!alone) seen.tell(task, keys);
            run_part(lead, part, keys, mine);
            if (alone) write_key_gradients(lead, &keys, mine.key_gradient, copy);
        });
        bias_sums.finish();
        if (!alone)
            parallel(request_.threads, heads, [&](std::int64_t head, int) {
                const std::int64_t task = head * sizes_.parts;
                write_key_gradients(key_head(request_, head), seen.from(task),
                                    copies.data() + task * copy, copy);
            });
        if (request_.additive_weight_gradient) write_weight_gradient(weight_sums.data(), tasks);
        if (request_.parameter_gradient.data)
            for (std::int64_t head = 0; head < heads; ++head)
                write_parameters(key_head(request_, head),
                                 parameters.data() + head * sizes_.parts * request_.group);
    }

   private:
    static constexpr int step = Arithmetic::rows;  // queries that are computed at a time

    struct Scratch {
        Scratch(const StripBackward& of, Pieces<Number>& pieces)
            : listed(Normalizer<Number>::is_sparse(of.request_.normalizer)),
              weights(of.request_, of.sizes_, true, pieces),
              scores(of.request_, of.sizes_, listed, pieces),
              output_gradient(of.sizes_, of.request_.value_width, true, listed, pieces) {
            const StripSizes<Number>& sizes = of.sizes_;
            value_panels = pieces.template take_for<Operand>(sizes.keys * of.value_depth_);
            if (listed) value = pieces.take(sizes.keys * sizes.value_width);
            cells = cells_beside<Arithmetic>(weights.cells, sizes.rows, sizes.columns,
                                             sizes.cells_row, pieces);
            slopes = pieces.take(Biases<Number>::slopes(of.request_) * sizes.cells());
            query_gradient = pieces.take(sizes.rows * sizes.width);
            listed_weights = pieces.take(sizes.columns);
            listed_gradients = pieces.take(sizes.columns);
            listed_keys = pieces.template take_for<std::int32_t>(sizes.columns);
        }
        bool listed;  // whether rows may be taken one by one, as lists of what is not 0
        StripWeights<Storage, Arithmetic> weights;
        ScoreGradients<Storage, Arithmetic> scores;
        StripRows<Storage, Arithmetic> output_gradient;
        // Of the task's keys, each in its place.
        Operand* value_panels;
        bool finite_values = true;
        Number* value = nullptr;
        Cells<Operand> cells;  // of a strip; gradients first of its weights, then of its scores
        Number* slopes;        // of the soft caps
        Number* query_gradient;
        Number *listed_weights, *listed_gradients;  // of a row
        std::int32_t* listed_keys;
        Number *key_gradient, *value_gradient;      // the task's own, of all keys
        double* parameters;                         // of each member of the group
        double* weight_sums;                        // the task's own gradient of the score's weight
        std::int64_t task;
        const BiasSums<Number>* bias_sums;
    };

    void run_part(Lead lead, std::int64_t part, const Ranges& keys, Scratch& scratch) const {
        clear(scratch.parameters, request_.group);
        clear_keys(scratch.key_gradient, keys, sizes_.width);
        clear_keys(scratch.value_gradient, keys, sizes_.value_width);
        pack_keys(lead, keys, scratch);
        scratch.scores.begin(lead, keys, scratch.weight_sums);
        sizes_.for_each_strip(request_, lead, part, [&](const Strip& strip) {
            if (ends_early()) return;
            [[maybe_unused]] const typename Arithmetic::Session session;
            run_strip(strip, scratch);
            write_query_gradient(strip, scratch);
        });
    }

    void pack_keys(Lead lead, const Ranges& keys, Scratch& scratch) const {
        scratch.weights.take_keys(lead, keys);
        scratch.finite_values = true;
        for (const Range& range : keys) {
            const std::int64_t first = range.start;
            const Block<Storage> value = block_of_values<Storage>(request_, lead, range);
            scratch.finite_values &= Arithmetic::pack_panels(
                value, scratch.value_panels + first * value_depth_, range.size(), value_depth_);
            if (scratch.value)
                pack(value, Number(1), scratch.value + first * sizes_.value_width,
                     sizes_.value_width, range.size());
        }
    }

    void run_strip(const Strip& strip, Scratch& scratch) const {
        const std::int64_t rows = strip.rows();
        clear(scratch.query_gradient, rounded_up(rows, step) * sizes_.width);
        if (strip.keys.empty()) return;
        scratch.output_gradient.take({request_.output_gradient, strip.lead, strip.queries.start,
                                      rows, request_.value_width},
                                     1);
        scratch.weights.compute(strip, scratch.slopes);
        const Normalizer<Number> normalizer(request_, strip.lead);
        if (scratch.weights.is_sparse && scratch.scores.prefers_lists()) {
            for (std::int64_t row = 0; row < rows; ++row) run_listed(strip, normalizer, row, scratch);
            return;
        }
        find_score_gradients(strip, normalizer, scratch);
        make_terms(strip, scratch);
        scratch.scores.add(strip, scratch.weights.scores, scratch.cells, scratch.query_gradient,
                           scratch.key_gradient);
        add_value_gradient(strip, scratch);
    }

    // One row of which few weights are not 0: everything happens among these.
    void run_listed(const Strip& strip, const Normalizer<Number>& normalizer, std::int64_t row,
                    Scratch& scratch) const {
        const RowNote& note = scratch.weights.notes[row];
        const std::int64_t count = note.support, padded = rounded_up(count, lanes<Number>);
        const std::int64_t value_width = sizes_.value_width;
        const std::int32_t* places = scratch.weights.listed(row);
        const Number* all_weights = scratch.weights.cells + row * sizes_.cells_row;
        const Number* output_gradient = scratch.output_gradient.numbers + row * value_width;
        Number *weights = scratch.listed_weights, *gradients = scratch.listed_gradients;
        const std::int32_t* keys = scratch.listed_keys;
        for (std::int64_t i = 0; i < count; ++i) weights[i] = all_weights[places[i]];
        strip.keys.to_keys(places, count, scratch.listed_keys);
        inner_products(gradients, keys, count, output_gradient, scratch.value, value_width);
        for (std::int64_t i = count; i < padded; ++i) weights[i] = gradients[i] = 0;
        drop_listed(strip, row, gradients, scratch);
        scratch.parameters[strip.lead.member] +=
            normalizer.differentiate(note, weights, gradients, padded);
        drop_listed(strip, row, weights, scratch);
        differentiate_biases_of_listed(strip, row, gradients, scratch);
        scratch.scores.add_listed(scratch.weights.scores, row, {gradients, keys, count},
                                  scratch.query_gradient, scratch.key_gradient);
        add_outer_product(scratch.value_gradient, Sparse<Number>{weights, keys, count},
                          output_gradient, value_width);
    }

    void drop_listed(const Strip& strip, std::int64_t row, Number* numbers, Scratch& scratch) const {
        if (!request_.dropout_states.data) return;
        const RowDropout<Number> dropout(request_, strip.lead, strip.queries.start + row);
        for (std::int64_t i = 0; i < scratch.weights.notes[row].support; ++i)
            numbers[i] = dropout.apply_to_one(numbers[i], scratch.listed_keys[i]);
    }

    // Fills the strip with gradients of scores, and makes the weights those that met the values.
    void find_score_gradients(const Strip& strip, const Normalizer<Number>& normalizer,
                              Scratch& scratch) const {
        const StripRows<Storage, Arithmetic>& output_gradient = scratch.output_gradient;
        for_each_tile(strip, [&](std::int64_t row, Range keys, std::int64_t column) {
            Arithmetic::multiply(output_gradient.finite && scratch.finite_values,
                                 scratch.cells.gradients + row * sizes_.cells_row + column,
                                 sizes_.cells_row, output_gradient.from(row),
                                 scratch.value_panels, value_depth_, keys);
        });
        for (std::int64_t row = 0; row < strip.rows(); ++row) {
            Number* weights = scratch.weights.cells + row * sizes_.cells_row;
            Number* gradients = scratch.cells.gradients + row * sizes_.cells_row;
            drop(strip, row, gradients);
            scratch.parameters[strip.lead.member] += normalizer.differentiate(
                scratch.weights.notes[row], weights, gradients, strip.columns());
            drop(strip, row, weights);
        }
        const Biases<Number> biases(request_, strip.lead);
        if (biases.empty()) return;
        for_each_tile(strip, [&](std::int64_t row, Range keys, std::int64_t column) {
            differentiate_biases(biases, strip, {row, smaller(row + step, strip.rows())}, keys,
                                 column, scratch);
        });
    }

    // Cells become what is multiplied. Rows of a step beyond the last query are 0.
    void make_terms(const Strip& strip, Scratch& scratch) const {
        if constexpr (Arithmetic::rows_are_terms) return;
        const std::int64_t padded = rounded_up(strip.rows(), step);
        for (std::int64_t row = strip.rows(); row < padded; ++row) {
            clear(scratch.cells.weights + row * sizes_.cells_row, strip.columns());
            clear(scratch.cells.gradients + row * sizes_.cells_row, strip.columns());
        }
        for (std::int64_t row = 0; row < padded; row += step)
            Arithmetic::make_terms(scratch.cells, row, strip.columns(), sizes_.rows);
    }

    // Gradients of biased scores become those of scores, for some keys of which the first has this
    // column.
    void differentiate_biases(const Biases<Number>& biases, const Strip& strip, Range rows,
                              Range keys, std::int64_t column, Scratch& scratch) const {
        const std::int64_t place = rows.start * sizes_.cells_row + column;
        const std::int64_t query = strip.queries.start;
        biases.differentiate({query + rows.start, query + rows.stop}, keys,
                             scratch.cells.gradients + place,
                             sizes_.cells_row, scratch.slopes + place, sizes_.cells(),
                             [&](int i, const BiasRow& cut, const Number* gradients) {
                                 scratch.bias_sums->add(scratch.task, biases, i, cut, gradients);
                             });
    }

    // The same for a row of which few gradients are not 0.
    void differentiate_biases_of_listed(const Strip& strip, std::int64_t row, Number* gradients,
                                        Scratch& scratch) const {
        const Biases<Number> biases(request_, strip.lead);
        if (biases.empty()) return;
        const std::int32_t* places = scratch.weights.listed(row);
        const std::int64_t count = scratch.weights.notes[row].support;
        Number* cells = scratch.cells.gradients + row * sizes_.cells_row;
        fill(cells, strip.columns(), Number(0));
        for (std::int64_t i = 0; i < count; ++i) cells[places[i]] = gradients[i];
        strip.for_each_keys([&](Range keys, std::int64_t column) {
            differentiate_biases(biases, strip, {row, row + 1}, keys, column, scratch);
        });
        for (std::int64_t i = 0; i < count; ++i) gradients[i] = cells[places[i]];
    }

    void drop(const Strip& strip, std::int64_t row, Number* cells) const {
        if (!request_.dropout_states.data) return;
        RowDropout<Number>(request_, strip.lead, strip.queries.start + row)
            .apply(cells, strip);
    }

    // Calls work(row, keys, column) for each step's rows of each tile.
    template <class Work>
    void for_each_tile(const Strip& strip, Work work) const {
        strip.for_each_keys(strip_tile_columns, [&](Range keys, std::int64_t column) {
            for (std::int64_t row = 0; row < strip.rows(); row += step) work(row, keys, column);
        });
    }

    void add_value_gradient(const Strip& strip, Scratch& scratch) const {
        const std::int64_t value_width = sizes_.value_width;
        strip.for_each_keys([&](Range keys, std::int64_t column) {
            Arithmetic::add_columns(scratch.output_gradient.finite,
                                    scratch.value_gradient + keys.start * value_width,
                                    scratch.cells.weight_columns, column, keys.size(),
                                    sizes_.cells_row, sizes_.rows, scratch.output_gradient.terms,
                                    strip.rows(), value_width);
        });
    }

    void write_query_gradient(const Strip& strip, const Scratch& scratch) const {
        for (std::int64_t row = 0; row < strip.rows(); ++row) {
            Storage* to = row_of<Storage>(request_.query_gradient, strip.lead,
                                          strip.queries.start + row);
            for (std::int64_t j = 0; j < request_.width; ++j)
                narrow(scratch.query_gradient[row * sizes_.width + j] *
                           ScoreGradients<Storage, Arithmetic>::query_factor(request_, j),
                       to + j);
        }
    }

    // Adds the tasks' sums in their order.
    void write_weight_gradient(const double* sums, std::int64_t tasks) const {
        for (std::int64_t d = 0; d < request_.width; ++d) {
            double total = 0;
            for (std::int64_t task = 0; task < tasks; ++task) total += sums[task * request_.width + d];
            static_cast<Number*>(request_.additive_weight_gradient)[d] = Number(total);
        }
    }

    // Adds the copies of one key head's parts, which see these keys and lie `step` apart.
    void write_key_gradients(Lead lead, const Ranges* seen, const Number* copies,
                             std::int64_t step) const {
        const auto factor = [&](std::int64_t d) {
            return ScoreGradients<Storage, Arithmetic>::key_factor(request_, d);
        };
        write_sums(request_.key_gradient, lead, seen, request_.width, copies, sizes_.width, step,
                   factor);
        write_sums(request_.value_gradient, lead, seen, request_.value_width,
                   copies + key_numbers_, sizes_.value_width, step,
                   [](std::int64_t) { return Number(1); });
    }

    template <class Factor>
    void write_sums(const Tensor& tensor, Lead lead, const Ranges* seen, std::int64_t width,
                    const Number* copies, std::int64_t row, std::int64_t step, Factor factor) const {
        sizes_.add_parts(request_, seen, [&](std::int64_t part) { return copies + part * step; }, width,
                         row, [&](std::int64_t key, const double* sums) {
                             Storage* to = row_of<Storage>(tensor, lead, key);
                             for (std::int64_t j = 0; j < width; ++j)
                                 narrow(Number(sums[j]) * factor(j), to + j);
                         });
    }

    void write_parameters(Lead lead, const double* parts) const {
        for (; lead.member < request_.group; ++lead.member) {
            double total = 0;
            for (std::int64_t part = 0; part < sizes_.parts; ++part)
                total += parts[part * request_.group + lead.member];
            *row_of<double>(request_.parameter_gradient, lead, 0) = total;
        }
    }

    const Request& request_;
    const bool joins_heads_;
    const StripSizes<Number> sizes_;
    const std::int64_t value_depth_;  // operands of a value
    const std::int64_t key_numbers_, value_numbers_;  // of one copy of their gradients
};

}  // namespace qkv::QKV_ISA
