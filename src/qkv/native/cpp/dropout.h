// Which weights are dropped: a hash of where a weight stands, the same as in qkv/_dropout.py.
#pragma once

#include "normalizers/row.h"
#include "pack.h"
#include "strip_sizes.h"

namespace qkv::QKV_ISA {

// A bijection of 32-bit words, one or a vector of them (Wellons, "lowbias32").
template <class Words>
QKV_INLINE Words mixed(Words word) {
    word = (word ^ (word >> 16)) * 0x7feb352du;
    word = (word ^ (word >> 15)) * 0x846ca68bu;
    return word ^ (word >> 16);
}

// As many 32-bit words as a vector has numbers.
template <class Number>
struct WordsOf;
template <>
struct WordsOf<float> {
    typedef std::uint32_t type __attribute__((vector_size(QKV_VECTOR_BYTES)));
};
template <>
struct WordsOf<double> {
    typedef std::uint32_t type __attribute__((vector_size(QKV_VECTOR_BYTES / 2)));
};

// Drops numbers of one row of the matrix. The state of a row is the hash of its other coordinates.
template <class Number>
class RowDropout {
   public:
    RowDropout(const Request& request, Lead lead, std::int64_t query)
        : state_(std::uint32_t(*row_of<std::int64_t>(request.dropout_states, lead, query))),
          threshold_(request.dropout_threshold),
          factor_(Number(request.dropout_factor)) {}

    // A row of a strip.
    void apply(Number* cells, const Strip& strip) const {
        strip.for_each_keys([&](Range keys, std::int64_t column) {
            apply(cells + column, keys.start, keys.size());
        });
    }

    // The cells of `count` keys, a multiple of the lanes, from key `first` on.
    void apply(Number* cells, std::int64_t first, std::int64_t count) const {
        Words column;
        for (int lane = 0; lane < lanes<Number>; ++lane)
            column[lane] = std::uint32_t(first + lane);
        for (std::int64_t j = 0; j < count; j += lanes<Number>, column += lanes<Number>) {
            const auto kept = __builtin_convertvector(mixed(column ^ state_) >= threshold_,
                                                      Mask<Number>);
            const Vector<Number> cell = load(cells + j), zero = {};
            // Of zeros the sign stays: it tells what is hidden of an identity.
            store(cells + j, kept ? cell * factor_ : cell == 0 ? cell : zero);
        }
    }

    Number apply_to_one(Number number, std::int64_t key) const {
        return mixed(std::uint32_t(key) ^ state_) >= threshold_ ? number * factor_ : 0;
    }

   private:
    using Words = typename WordsOf<Number>::type;
    std::uint32_t state_, threshold_;
    Number factor_;
};

}  // namespace qkv::QKV_ISA
