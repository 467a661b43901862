// Sums of the gradients of biases' numbers, the same for any order in which tasks end.
//
// A number of its own for every query and key gets its gradient at once; where heads or batch
// entries share it, one task must do these in turn. Any other number is shared by many cells, and
// tensors of such numbers are small: each task has a copy, in double, and the copies are added in
// the order of the tasks.
#pragma once

#include "bias.h"
#include "threads.h"

namespace qkv::QKV_ISA {

template <class Number>
class BiasSums {
   public:
    // Each key head, `batch * heads` of them, has `parts` tasks.
    BiasSums(const Request& request, std::int64_t parts)
        : request_(request),
          parts_(parts),
          size_(find_copies()),
          copies_(size_ * parts * request.batch * request.heads) {
        const std::int64_t count = size_ * parts * request.batch * request.heads;
        for (std::int64_t i = 0; i < count; ++i) copies_.data()[i] = 0;
    }

    // Whether the tasks of all key heads meet in the same gradients, so that they must not run at
    // the same time.
    static bool joins_heads(const Request& request) {
        for (int i = 0; i < request.bias_count; ++i) {
            const Bias& bias = request.biases[i];
            if (bias.gradient.data && is_of_cell(bias) &&
                ((bias.gradient.batch == 0 && request.batch > 1) ||
                 (bias.gradient.head == 0 && request.heads > 1)))
                return true;
        }
        return false;
    }

    // Adds the gradients of a row's cells to those of the numbers that they had from bias `i`.
    void add(std::int64_t task, const Biases<Number>& biases, int i, const BiasRow& cut,
             const Number* gradients) const {
        const Bias& bias = request_.biases[i];
        if (is_of_cell(bias)) {
            Number* to = static_cast<Number*>(bias.gradient.data) +
                         biases.place(bias, bias.gradient, bias.gradient_column, cut).offset;
            for (std::int64_t j = 0; j < cut.known; ++j) to[j] += gradients[j];
            return;
        }
        const Copy& copy = layout_[i];
        const auto at = biases.place(bias, copy.tensor, copy.column, cut);
        double* to = copies_.data() + task * size_ + copy.start + at.offset;
        if (!at.is_shared) {
            for (std::int64_t j = 0; j < cut.known; ++j) to[j] += double(gradients[j]);
            return;
        }
        Vector<Number> total = {};  // beyond the known keys gradients are 0
        for (std::int64_t j = 0; j < cut.count; j += lanes<Number>) total += load(gradients + j);
        *to += double(sum<Number>(total));
    }

    // Adds the copies up, in the order of the tasks.
    void finish() const {
        for (int i = 0; i < request_.bias_count; ++i) {
            const Bias& bias = request_.biases[i];
            if (!bias.gradient.data || is_of_cell(bias)) continue;
            for (std::int64_t task = 0; task < parts_ * request_.batch * request_.heads; ++task)
                add_copy(bias, layout_[i], task);
        }
    }

   private:
    // A bias's part of a task's copy: [members, rows, columns], side by side.
    struct Copy {
        std::int64_t start, members, rows, columns;
        Tensor tensor;
        std::int64_t column;
    };

    static bool is_of_cell(const Bias& bias) {
        return bias.kind == BiasKind::cells && bias.gradient.row != 0 && bias.gradient_column != 0;
    }

    // Lays out a task's copy. Returns its size.
    std::int64_t find_copies() {
        std::int64_t used = 0;
        for (int i = 0; i < request_.bias_count; ++i) {
            const Bias& bias = request_.biases[i];
            const Tensor& gradient = bias.gradient;
            if (!gradient.data || is_of_cell(bias)) continue;
            const bool by_distance = bias.kind == BiasKind::distance;
            Copy& copy = layout_[i];
            copy.start = used;
            copy.members = gradient.group == 0 ? 1 : request_.group;
            copy.rows = by_distance || gradient.row == 0 ? 1 : request_.queries;
            copy.columns = by_distance                 ? bias.numbers
                           : bias.gradient_column == 0 ? 1
                                                       : request_.keys;
            copy.column = copy.columns == 1 && !by_distance ? 0 : 1;
            copy.tensor.row = copy.rows == 1 ? 0 : copy.columns;
            copy.tensor.group = copy.members == 1 ? 0 : copy.rows * copy.columns;
            used += copy.members * copy.rows * copy.columns;
        }
        return used;
    }

    void add_copy(const Bias& bias, const Copy& copy, std::int64_t task) const {
        const std::int64_t head = task / parts_;
        const Tensor& gradient = bias.gradient;
        const std::int64_t column = bias.kind == BiasKind::distance ? 1 : bias.gradient_column;
        Number* to = static_cast<Number*>(gradient.data) +
                     head / request_.heads * gradient.batch + head % request_.heads * gradient.head;
        const double* from = copies_.data() + task * size_ + copy.start;
        for (std::int64_t member = 0; member < copy.members; ++member)
            for (std::int64_t row = 0; row < copy.rows; ++row)
                for (std::int64_t j = 0; j < copy.columns; ++j)
                    to[member * gradient.group + (copy.rows == 1 ? 0 : row * gradient.row) +
                       j * column] += Number(*from++);
    }

    const Request& request_;
    std::int64_t parts_;
    Copy layout_[most_biases];
    std::int64_t size_;
    Numbers<double> copies_;
};

}  // namespace qkv::QKV_ISA
