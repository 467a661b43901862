// Copies of rows of a tensor where the products want them: widened, padded, aligned.
#pragma once

#include "matmul.h"
#include "request.h"
#include "visible.h"

namespace qkv::QKV_ISA {

template <class Storage>
QKV_INLINE Storage* row_of(const Tensor& tensor, Lead lead, std::int64_t row) {
    return static_cast<Storage*>(tensor.data) + lead.batch * tensor.batch +
           lead.head * tensor.head + lead.member * tensor.group + row * tensor.row;
}

// A block of `rows` rows, `width` wide, from row `first` on, of one head of a tensor.
template <class Storage>
struct Block {
    Block(const Tensor& tensor, Lead lead, std::int64_t first, std::int64_t rows,
          std::int64_t width)
        : data(row_of<Storage>(tensor, lead, first)), stride(tensor.row), rows(rows), width(width) {}

    const Storage* data;
    std::int64_t stride, rows, width;
};

// Of keys or their values, of which there may be some beyond the last.
template <class Storage>
Block<Storage> block_of_keys(const Request& request, Lead lead, Range keys) {
    const std::int64_t known = smaller(keys.stop, request.keys) - keys.start;
    return {request.key, lead, keys.start, known, request.width};
}

template <class Storage>
Block<Storage> block_of_values(const Request& request, Lead lead, Range keys) {
    const std::int64_t known = smaller(keys.stop, request.keys) - keys.start;
    return {request.value, lead, keys.start, known, request.value_width};
}

template <class Storage>
Block<Storage> block_of_queries(const Request& request, Lead lead, Range queries) {
    return {request.query, lead, queries.start, queries.size(), request.width};
}

// The block times `factor`, row by row, `stride` apart, with zeros beside it and in the rows up to
// `padded_rows`. Returns whether every number is finite.
template <class Storage>
bool pack(Block<Storage> block, Real<Storage> factor, Real<Storage>* to, std::int64_t stride,
          std::int64_t padded_rows) {
    using Number = Real<Storage>;
    Vector<Number> probes = {};  // 0 * x is NaN where x is not finite
    Number probe_of_one = 0;
    for (std::int64_t i = 0; i < block.rows; ++i, to += stride) {
        const Storage* from = block.data + i * block.stride;
        Vector<Number> probe = {};  // of this row: its additions need not wait for the last row's
        std::int64_t j = 0;
        for (; j + lanes<Number> <= block.width; j += lanes<Number>) {
            Vector<Number> numbers = widened(from + j);
            probe += numbers * 0;
            store(to + j, numbers * factor);
        }
        probes += probe;
        for (; j < block.width; ++j) {
            Number number = widened_one(from + j);
            probe_of_one += number * 0;
            to[j] = number * factor;
        }
        for (; j < stride; ++j) to[j] = 0;
    }
    for (std::int64_t j = 0; j < (padded_rows - block.rows) * stride; ++j) to[j] = 0;
    return sum<Number>(probes) + probe_of_one == 0;
}

// The block with rows and columns exchanged, as panels: panel p holds the rows of the block from
// p * panel_width on as its columns, one row of panel_width numbers for each column of the block.
// Columns beyond the block are 0, up to `columns`, a multiple of the lanes.
template <class Storage>
void pack_transposed(Block<Storage> block, Real<Storage>* to, std::int64_t columns) {
    using Number = Real<Storage>;
    constexpr std::int64_t side = lanes<Number>, panel = panel_width<Number>;
    for (std::int64_t i = 0; i < columns; i += side) {
        const Storage* from = block.data + i * block.stride;
        Number* column = to + i / panel * panel * block.width + i % panel;
        std::int64_t j = 0;
        for (; j + side <= block.width; j += side) {
            Vector<Number> square[side];
#pragma GCC unroll 16
            for (int k = 0; k < side; ++k)
                square[k] = i + k < block.rows ? widened(from + k * block.stride + j)
                                               : Vector<Number>{};
            transpose<Number>(square);
#pragma GCC unroll 16
            for (int k = 0; k < side; ++k) store(column + (j + k) * panel, square[k]);
        }
        for (; j < block.width; ++j)
            for (std::int64_t k = 0; k < side; ++k)
                column[j * panel + k] =
                    i + k < block.rows ? widened_one(from + k * block.stride + j) : 0;
    }
}

// The same in whole panels.
template <class Storage>
void pack_panels(Block<Storage> block, Real<Storage>* to) {
    pack_transposed(block, to, rounded_up(block.rows, panel_width<Real<Storage>>));
}

}  // namespace qkv::QKV_ISA
