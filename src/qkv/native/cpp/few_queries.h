// What the passes for few queries and many keys share, as when a text is written word by word. Their
// time is that of reading keys and values, so each is read once, where it lies, for all the queries of
// a group of heads; and the keys are split into parts, so that all threads read.
#pragma once

#include "arithmetic.h"
#include "finite.h"
#include "softmax.h"
#include "tasks.h"

namespace qkv::QKV_ISA {

// `Rows` queries share a load of a key. Rows of one group are all queries of its first head, then those
// of the second, and so on. Widths must be whole vectors of operands.
template <class Storage, int Rows, class Arithmetic>
class FewQueries {
   public:
    using Number = Real<Storage>;
    using Operand = typename Arithmetic::Operand;
    static constexpr std::int64_t chunk = 32;  // keys whose scores are alive at a time

    explicit FewQueries(const Request& request)
        : queries(request.group * request.queries),
          rows(rounded_up(queries, Rows)),
          request_(request) {
        const std::int64_t chunks = (request.keys + chunk - 1) / chunk;
        const std::int64_t wanted = parts_for(request.threads, key_heads(request), 4);
        const std::int64_t most = larger<std::int64_t>(1, smaller(wanted, chunks / 4));
        part_keys_ = larger<std::int64_t>(1, (chunks + most - 1) / most) * chunk;
        parts = larger<std::int64_t>(1, (request.keys + part_keys_ - 1) / part_keys_);
    }

    const std::int64_t queries, rows;  // of one group, and rounded up to whole tiles
    std::int64_t parts;                // into which the keys of a head are split

    Range keys_of_part(std::int64_t part) const {
        return {part * part_keys_, smaller((part + 1) * part_keys_, request_.keys)};
    }

    // The head of a row of a group, of which `lead` is the first.
    Lead lead_of(Lead lead, std::int64_t row) const {
        return {lead.batch, lead.head, row / request_.queries};
    }

    // What the queries of a group see, in whole chunks.
    Ranges seen(Lead lead) const {
        Ranges found;
        for (; lead.member < request_.group; ++lead.member)
            found.add(Visible(request_, lead).keys_of({0, request_.queries}, chunk));
        return found;
    }

    // So many hold the packed rows of a group.
    std::int64_t operands(std::int64_t width) const { return rows * (width / Arithmetic::terms); }

    // The rows of a tensor of queries. Padding repeats the last one. Returns whether all is finite.
    bool pack(const Tensor& tensor, Lead lead, double factor, std::int64_t width, Operand* to) const {
        const std::int64_t depth = width / Arithmetic::terms;
        bool finite = true;
        for (std::int64_t row = 0; row < rows; ++row) {
            const std::int64_t known = smaller(row, queries - 1);
            finite &= Arithmetic::pack_rows(
                {tensor, lead_of(lead, known), known % request_.queries, 1, width}, factor,
                to + row * depth, depth, 1);
        }
        return finite;
    }

    // Products of packed rows with the rows of these keys, at most a chunk; those of a packed row lie
    // side by side. `ahead(key)` may ask for memory meanwhile.
    template <class Ahead>
    void multiply(const Operand* packed, const Tensor& tensor, Lead lead, Range keys,
                  std::int64_t width, Number* cells, Ahead ahead) const {
        const std::int64_t depth = width / Arithmetic::terms;
        for (std::int64_t key = keys.start; key < keys.stop; key += keys_at_once) {
            const Storage* key_rows[keys_at_once];
            for (int k = 0; k < keys_at_once; ++k) {
                const std::int64_t known = smaller(key + k, keys.stop - 1);
                key_rows[k] = row_of<Storage>(tensor, lead, known);
                ahead(known);
            }
            for (std::int64_t row = 0; row < rows; row += Rows)
                multiply_tile(packed + row * depth, depth, key_rows,
                              cells + row * chunk + key - keys.start);
        }
    }

    // -infinity for what a query does not see, and for the places of a chunk beyond these keys.
    void hide(Lead lead, Range keys, Number* scores) const {
        for (std::int64_t row = 0; row < rows; ++row) {
            Number* of_row = scores + row * chunk;
            const std::int64_t known = smaller(row, queries - 1);
            const std::int64_t query = known % request_.queries;
            const Visible visible(request_, lead_of(lead, known));
            visible.hide({query, query + 1}, {keys.start, keys.start + chunk}, of_row, chunk,
                         -infinity<Number>);
            for (std::int64_t j = keys.stop - keys.start; j < chunk; ++j)
                of_row[j] = -infinity<Number>;  // they belong to the next part
        }
    }

   private:
    static constexpr int keys_at_once = lanes<Number> / Rows;

    static void multiply_tile(const Operand* packed, std::int64_t depth,
                              const Storage* (&key_rows)[keys_at_once], Number* cells) {
        Vector<Number> products[lanes<Number>] = {};
        for (std::int64_t d = 0; d < depth; d += lanes<Number>) {
            Vector<Operand> keys[keys_at_once];
#pragma GCC unroll 16
            for (int k = 0; k < keys_at_once; ++k) keys[k] = Arithmetic::operands_at(key_rows[k], d);
#pragma GCC unroll 8
            for (int i = 0; i < Rows; ++i) {
                const Vector<Operand> row = widened(packed + i * depth + d);
#pragma GCC unroll 16
                for (int k = 0; k < keys_at_once; ++k) {
                    Vector<Number>& product = products[i * keys_at_once + k];
                    product = Terms<Operand>::multiply_and_add(row, keys[k], product);
                }
            }
        }
        const Vector<Number> found = sums<Number>(products);
        Number all[lanes<Number>];
        store(all, found);
#pragma GCC unroll 8
        for (int i = 0; i < Rows; ++i)
            __builtin_memcpy(cells + i * chunk, all + i * keys_at_once,
                             keys_at_once * sizeof(Number));
    }

    const Request& request_;
    std::int64_t part_keys_;
};

}  // namespace qkv::QKV_ISA
