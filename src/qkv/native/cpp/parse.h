// A request as Python describes it, `qkv.native.request.Request`, as the kernels read it.
#pragma once

#include <nanobind/nanobind.h>

#include "request.h"

namespace nb = nanobind;

namespace qkv {

// A torch tensor's memory, asked of the tensor itself: that takes a tenth of the time of DLPack,
// which counts where little is computed. Python has checked types, devices and shapes, where errors
// can name what the user gave. None is a tensor without data.
struct Array {
    explicit Array(nb::handle tensor) {
        if (tensor.is_none()) return;
        data = address(tensor);
        for (nb::handle size : tensor.attr("shape")) shape[dimensions++] = nb::cast<std::int64_t>(size);
        int dimension = 0;
        for (nb::handle step : nb::object(tensor.attr("stride")())) {
            const std::int64_t elements = nb::cast<std::int64_t>(step);
            stride[dimension] = shape[dimension] == 1 ? 0 : elements;
            ++dimension;
        }
    }

    static void* address(nb::handle tensor) {
        if (tensor.is_none()) return nullptr;
        return reinterpret_cast<void*>(nb::cast<std::intptr_t>(tensor.attr("data_ptr")()));
    }

    Tensor tensor() const { return {data, stride[0], stride[1], stride[2], stride[3]}; }

    void* data = nullptr;
    int dimensions = 0;
    std::int64_t shape[6] = {}, stride[6] = {};
};

inline Tensor tensor_of(nb::handle object, const char* name) {
    return Array(object.attr(name)).tensor();
}

template <class Number>
Number number_of(nb::handle object, const char* name) {
    return nb::cast<Number>(object.attr(name));
}

inline Bias parse_bias(nb::handle asked) {
    const Array values(asked.attr("values")), gradient(asked.attr("gradient"));
    Bias bias;
    bias.kind = BiasKind(number_of<int>(asked, "kind"));
    bias.values = values.tensor();
    bias.column = values.stride[4];
    bias.numbers = values.shape[3];
    bias.origin = number_of<std::int64_t>(asked, "origin");
    bias.limit = number_of<double>(asked, "limit");
    bias.gradient = gradient.tensor();
    bias.gradient_column = gradient.stride[4];
    return bias;
}

inline Wanted parse_wanted(nb::handle asked) {
    const Array pool(asked.attr("pool")), chosen(asked.attr("chosen"));
    const Array top(asked.attr("top_weights")), collected(asked.attr("collected"));
    Wanted wanted;
    wanted.entropy = tensor_of(asked, "entropy");
    wanted.distance = tensor_of(asked, "distance");
    wanted.support = tensor_of(asked, "support");
    wanted.top_weights = top.tensor();
    wanted.top_keys = tensor_of(asked, "top_keys");
    wanted.top = top.shape[4];
    wanted.mass = tensor_of(asked, "mass");
    wanted.pool = pool.tensor();
    wanted.pool_rows = pool.shape[3];
    wanted.pool_columns = pool.shape[4];
    wanted.pool_maximum = number_of<bool>(asked, "pool_maximum");
    wanted.chosen_weights = tensor_of(asked, "chosen_weights");
    wanted.chosen = static_cast<const std::int64_t*>(chosen.data);
    wanted.chosen_count = chosen.shape[0];
    wanted.collected_from = tensor_of(asked, "collected_from");
    wanted.collected = collected.tensor();
    wanted.collected_width = collected.shape[4];
    return wanted;
}

// What only some requests have.
inline void parse_stages(nb::handle asked, Request& request) {
    request.additive_weight = Array(asked.attr("additive_weight")).data;
    for (nb::handle bias : asked.attr("biases")) {
        if (request.bias_count == most_biases) throw nb::value_error("too many biases");
        request.biases[request.bias_count++] = parse_bias(bias);
    }
    request.positions = tensor_of(asked, "positions");
    request.bits = tensor_of(asked, "bits");
    request.normalizer = NormalizerKind(number_of<int>(asked, "normalizer"));
    request.parameter = tensor_of(asked, "parameter");
    request.top = number_of<std::int64_t>(asked, "top");
    request.dropout_states = tensor_of(asked, "dropout_states");
    request.dropout_threshold = number_of<std::uint32_t>(asked, "dropout_threshold");
    request.dropout_factor = number_of<double>(asked, "dropout_factor");
    request.additive_weight_gradient = Array(asked.attr("additive_weight_gradient")).data;
    request.parameter_gradient = tensor_of(asked, "parameter_gradient");
    const nb::object statistics = asked.attr("statistics");
    if (!statistics.is_none()) request.wanted = parse_wanted(statistics);
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
    request.output = tensor_of(asked, "output");
    request.logsumexp = tensor_of(asked, "logsumexp");
    request.output_gradient = tensor_of(asked, "output_gradient");
    request.query_gradient = tensor_of(asked, "query_gradient");
    request.key_gradient = tensor_of(asked, "key_gradient");
    request.value_gradient = tensor_of(asked, "value_gradient");
    if (!nb::cast<bool>(asked.attr("plain"))) parse_stages(asked, request);
    return request;
}

// Softmax attention and nothing else, of `[batch, H, L, D]` or `[H, L, D]`: small calls would spend
// more time on the making of a request in Python than on their work. The output is dense, and so is
// the logsumexp, which may be None.
inline Request parse_plain(nb::handle query, nb::handle key, nb::handle value, nb::handle output,
                           nb::handle logsumexp, nb::handle intervals, int type, double scale,
                           int threads) {
    const Array queries(query), keys(key), values(value), bounds(intervals);
    const int batch = queries.dimensions == 4 ? 0 : -1;  // dimension of the batch: -1, none
    const int head = batch + 1;
    Request request{};
    request.type = Type(type);
    request.batch = batch < 0 ? 1 : queries.shape[batch];
    request.heads = keys.shape[head];
    request.group = queries.shape[head] / keys.shape[head];
    request.queries = queries.shape[head + 1];
    request.keys = keys.shape[head + 1];
    request.width = queries.shape[head + 2];
    request.value_width = values.shape[head + 2];
    request.scale = scale;
    request.threads = threads;
    request.intervals = {static_cast<const std::int32_t*>(bounds.data), 0, 0, 0, bounds.stride[3],
                         int(bounds.shape[4])};
    // Of a tensor whose heads come in groups; a group of 1 is shared.
    const auto placed = [&](const Array& from, std::int64_t group) -> Tensor {
        const std::int64_t member = from.stride[head];
        return {from.data, batch < 0 ? 0 : from.stride[batch], group * member,
                group == 1 ? 0 : member, from.stride[head + 1]};
    };
    request.query = placed(queries, request.group);
    request.key = placed(keys, 1);
    request.value = placed(values, 1);
    const std::int64_t rows = request.queries, row = request.value_width;
    const std::int64_t member = rows * request.group, entry = member * request.heads;
    request.output = {Array::address(output), entry * row, member * row, rows * row, row};
    request.logsumexp = {Array::address(logsumexp), entry, member, rows, 1};
    return request;
}

}  // namespace qkv
