// A request as Python describes it, `qkv.native.request.Request`, as the kernels read it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>
#include <vector>

#include "exchange.h"
#include "request.h"

namespace nb = nanobind;

namespace qkv {

// A torch tensor's memory, asked of the tensor itself. Python has checked types, devices and shapes,
// where errors can name what the user gave. None is a tensor without data, as is one of no numbers.
struct Array {
    Array() = default;

    explicit Array(nb::handle tensor) {
        if (tensor.is_none()) return;
        static const auto view = find_view();
        if (view)
            read(view, tensor);
        else
            read_attributes(tensor);
        for (int i = 0; i < dimensions; ++i)
            if (shape[i] == 1) stride[i] = 0;
    }

    // With columns side by side, as the kernels read them: if need be of a copy, which it keeps.
    static Array dense(nb::handle tensor) {
        const Array found(tensor);
        const int last = found.dimensions - 1;
        if (found.shape[last] == 1 || found.stride[last] == 1) return found;
        const nb::object copy = tensor.attr("contiguous")();
        Array array(copy);
        array.copy = copy;
        return array;
    }

    Tensor tensor() const { return {data, stride[0], stride[1], stride[2], stride[3]}; }

    // Of `[batch, H, L, D]` or `[H, L, D]`, whose heads come in groups; a group of 1 is shared.
    Tensor grouped(std::int64_t group) const {
        const int head = dimensions - 3;
        const std::int64_t member = stride[head];
        return {data, head == 0 ? 0 : stride[0], group * member, group == 1 ? 0 : member,
                stride[head + 1]};
    }

    nb::object copy;
    void* data = nullptr;
    int dimensions = 0;
    std::int64_t shape[6] = {}, stride[6] = {};

   private:
    void read(decltype(Exchange::view) view, nb::handle tensor) {
        ExchangedTensor found;
        if (view(tensor.ptr(), &found) != 0) throw nb::python_error();
        bool is_empty = false;
        for (; dimensions < found.dimensions; ++dimensions) {
            shape[dimensions] = found.shape[dimensions];
            stride[dimensions] = found.strides[dimensions];
            is_empty |= shape[dimensions] == 0;
        }
        if (!is_empty) data = static_cast<char*>(found.data) + found.byte_offset;
    }

    void read_attributes(nb::handle tensor) {
        // Strings are made once: it is names that take the time of small calls.
        static const nb::handle shape_name = PyUnicode_InternFromString("shape");
        static const nb::handle stride_name = PyUnicode_InternFromString("stride");
        static const nb::handle pointer_name = PyUnicode_InternFromString("data_ptr");
        data = reinterpret_cast<void*>(nb::cast<std::intptr_t>(tensor.attr(pointer_name)()));
        for (nb::handle size : nb::borrow<nb::tuple>(tensor.attr(shape_name)))
            shape[dimensions++] = nb::cast<std::int64_t>(size);
        int dimension = 0;
        for (nb::handle step : nb::borrow<nb::tuple>(tensor.attr(stride_name)()))
            stride[dimension++] = nb::cast<std::int64_t>(step);
    }
};

inline Tensor tensor_of(nb::handle object, const char* name) {
    return Array(object.attr(name)).tensor();
}

template <class Number>
Number number_of(nb::handle object, const char* name) {
    return nb::cast<Number>(object.attr(name));
}

template <class Kind>
Kind kind_of(const std::string& wanted, const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < names.size(); ++i)
        if (names[i] == wanted) return Kind(i);
    throw nb::value_error(("the kernels know no " + wanted).c_str());
}

inline std::string string_of(nb::handle object, const char* name) {
    return nb::cast<std::string>(object.attr(name));
}

#define QKV_NAME(name) #name,
inline const std::vector<std::string> type_names = {QKV_TYPES(QKV_NAME)};
inline const std::vector<std::string> normalizer_names = {QKV_NORMALIZERS(QKV_NAME)};
inline const std::vector<std::string> bias_names = {QKV_BIASES(QKV_NAME)};
inline const std::vector<std::string> function_names = {QKV_FUNCTIONS(QKV_NAME)};
#undef QKV_NAME

inline Bias parse_bias(nb::handle asked) {
    const Array values(asked.attr("values"));
    Bias bias;
    bias.kind = kind_of<BiasKind>(string_of(asked, "kind"), bias_names);
    bias.values = values.tensor();
    bias.column = values.stride[4];
    bias.numbers = values.shape[3];
    bias.origin = number_of<std::int64_t>(asked, "origin");
    bias.limit = number_of<double>(asked, "limit");
    return bias;
}

inline void parse_stages(nb::handle asked, Request& request) {
    request.additive_weight = Array(asked.attr("additive_weight")).data;
    request.score = request.additive_weight               ? ScoreKind::additive
                    : number_of<bool>(asked, "gaussian") ? ScoreKind::gaussian
                                                         : ScoreKind::dot_product;
    for (nb::handle bias : asked.attr("biases")) {
        if (request.bias_count == most_biases) throw nb::value_error("too many biases");
        request.biases[request.bias_count++] = parse_bias(bias);
    }
    request.positions = tensor_of(asked, "positions");
    request.bits = tensor_of(asked, "bits");
    request.normalizer = kind_of<NormalizerKind>(string_of(asked, "normalizer"), normalizer_names);
    request.parameter = tensor_of(asked, "parameter");
    request.top = number_of<std::int64_t>(asked, "top");
    const nb::object dropout = asked.attr("dropout");
    if (dropout.is_none()) return;
    request.dropout_states = tensor_of(dropout, "states");
    request.dropout_threshold = number_of<std::uint32_t>(dropout, "threshold");
    request.dropout_factor = number_of<double>(dropout, "factor");
}

// Where statistics go, and what is to be known of them beside that.
inline Wanted parse_wanted(nb::handle results, nb::handle asked) {
    const Array pool(results.attr("pool")), chosen(asked.attr("columns"));
    const Array top(results.attr("top_weights")), collected(results.attr("collected"));
    Wanted wanted;
    wanted.entropy = tensor_of(results, "entropy");
    wanted.distance = tensor_of(results, "distance");
    wanted.support = tensor_of(results, "support");
    wanted.top_weights = top.tensor();
    wanted.top_keys = tensor_of(results, "top_keys");
    wanted.top = top.shape[4];
    wanted.mass = tensor_of(results, "mass");
    wanted.pool = pool.tensor();
    wanted.pool_rows = pool.shape[3];
    wanted.pool_columns = pool.shape[4];
    wanted.pool_maximum =
        pool.data && nb::cast<std::string>(nb::object(asked.attr("pool")[2])) == "max";
    wanted.chosen_weights = tensor_of(results, "chosen_weights");
    wanted.chosen = static_cast<const std::int64_t*>(chosen.data);
    wanted.chosen_count = chosen.shape[0];
    const Array diagonals(results.attr("diagonals")), offsets(asked.attr("diagonals"));
    wanted.diagonals = diagonals.tensor();
    wanted.offsets = static_cast<const std::int64_t*>(offsets.data);
    wanted.diagonal_count = offsets.shape[0];
    wanted.collected_from = tensor_of(asked, "collected");
    wanted.collected = collected.tensor();
    wanted.collected_width = collected.shape[4];
    return wanted;
}

inline void parse_gradients(nb::handle asked, Request& request) {
    request.query_gradient = tensor_of(asked, "query");
    request.key_gradient = tensor_of(asked, "key");
    request.value_gradient = tensor_of(asked, "value");
    request.additive_weight_gradient = Array(asked.attr("additive_weight")).data;
    request.parameter_gradient = tensor_of(asked, "parameter");
    Bias* bias = request.biases;
    for (nb::handle of_bias : asked.attr("biases")) {
        const Array gradient(of_bias);
        bias->gradient = gradient.tensor();
        bias->gradient_column = gradient.stride[4];
        ++bias;
    }
}

inline Request parse(nb::handle asked) {
    const Array queries(asked.attr("query")), keys(asked.attr("key")), values(asked.attr("value"));
    const Array bounds(asked.attr("intervals"));
    Request request{};
    request.type = Type(number_of<int>(asked, "type"));
    const nb::object lead = asked.attr("lead");
    request.batch = nb::cast<std::int64_t>(lead[0]);
    request.heads = nb::cast<std::int64_t>(lead[1]);
    request.group = nb::cast<std::int64_t>(lead[2]);
    request.queries = nb::cast<std::int64_t>(lead[3]);
    request.keys = keys.shape[3];
    request.width = queries.shape[4];
    request.value_width = values.shape[4];
    request.scale = number_of<double>(asked, "scale");
    request.threads = number_of<int>(asked, "threads");
    request.intervals = {static_cast<const std::int32_t*>(bounds.data), bounds.stride[0],
                         bounds.stride[1], bounds.stride[2], bounds.stride[3], int(bounds.shape[4])};
    request.query = queries.tensor();
    request.key = keys.tensor();
    request.value = values.tensor();
    parse_stages(asked.attr("stages"), request);
    const nb::object results = asked.attr("results");
    request.output = tensor_of(results, "output");
    request.logsumexp = tensor_of(results, "logsumexp");
    request.wanted = parse_wanted(results, asked.attr("wanted"));
    request.output_gradient = tensor_of(asked, "output_gradient");
    const nb::object gradients = asked.attr("gradients");
    if (!gradients.is_none()) parse_gradients(gradients, request);
    return request;
}

// Softmax attention and nothing else, of `[batch, H, L, D]` or `[H, L, D]`: small calls would spend
// more time on the making of a request in Python than on their work. The output is dense, and so is
// the logsumexp, which may be None. Intervals that are None hold all keys.
class Plain {
   public:
    Plain(nb::handle query, nb::handle key, nb::handle value, nb::handle output,
          nb::handle logsumexp, nb::handle intervals, int type, double scale, int threads)
        : queries_(Array::dense(query)), keys_(Array::dense(key)), values_(Array::dense(value)) {
        const int head = queries_.dimensions - 3;
        request.type = Type(type);
        request.batch = head == 0 ? 1 : queries_.shape[0];
        request.heads = keys_.shape[head];
        request.group = queries_.shape[head] / keys_.shape[head];
        request.queries = queries_.shape[head + 1];
        request.keys = keys_.shape[head + 1];
        request.width = queries_.shape[head + 2];
        request.value_width = values_.shape[head + 2];
        request.scale = scale;
        request.threads = threads;
        every_key_[1] = std::int32_t(request.keys);
        const Array bounds(intervals);
        request.intervals.data =
            bounds.data ? static_cast<const std::int32_t*>(bounds.data) : every_key_;
        request.intervals.row = bounds.stride[3];
        request.query = queries_.grouped(request.group);
        request.key = keys_.grouped(1);
        request.value = values_.grouped(1);
        const std::int64_t rows = request.queries, row = request.value_width;
        const std::int64_t member = rows * request.group, entry = member * request.heads;
        request.output = {Array(output).data, entry * row, member * row, rows * row, row};
        request.logsumexp = {Array(logsumexp).data, entry, member, rows, 1};
    }
    Plain(const Plain&) = delete;
    Plain& operator=(const Plain&) = delete;

    // What the backward pass needs besides.
    void set_gradients(nb::handle of_output, nb::handle of_query, nb::handle of_key,
                       nb::handle of_value) {
        output_gradients_ = Array::dense(of_output);
        request.output_gradient = output_gradients_.grouped(request.group);
        request.query_gradient = Array(of_query).grouped(request.group);
        request.key_gradient = Array(of_key).grouped(1);
        request.value_gradient = Array(of_value).grouped(1);
    }

    Request request{};  // of what lies here

   private:
    Array queries_, keys_, values_, output_gradients_;
    std::int32_t every_key_[2] = {};
};

}  // namespace qkv
