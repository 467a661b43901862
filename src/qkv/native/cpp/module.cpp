// The Python module: describes tensors to the kernels, picks the instruction set.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif

#include <atomic>
#include <string>
#include <vector>

#include "instruction_sets.h"  // made by the build: QKV_FOR_EACH_ISA(of) calls of(isa) for each
#include "request.h"

namespace nb = nanobind;

namespace qkv {

#define QKV_DECLARE(isa)              \
    namespace isa {                   \
    extern const Kernels kernels;     \
    }
QKV_FOR_EACH_ISA(QKV_DECLARE)

namespace {

std::atomic<bool> is_forked = false;

bool runs_here(const std::string& name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (name == "x86-64-v4")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    if (name == "x86-64-v3")
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#endif
    return name == "baseline";
}

// Those that this processor runs, the fastest first.
const std::vector<const Kernels*>& supported() {
    static const std::vector<const Kernels*> found = [] {
        std::vector<const Kernels*> list;
#define QKV_APPEND(isa) \
    if (runs_here(isa::kernels.name)) list.push_back(&isa::kernels);
        QKV_FOR_EACH_ISA(QKV_APPEND)
        return list;
    }();
    return found;
}

std::atomic<const Kernels*> chosen = nullptr;

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Kernels* kernels : supported()) names.push_back(kernels->name);
    return names;
}

void choose(const std::string& name) {
    for (const Kernels* kernels : supported())
        if (kernels->name == name) {
            chosen = kernels;
            return;
        }
    throw nb::value_error(("this processor or this build has no " + name).c_str());
}

// A torch tensor's memory, asked of the tensor itself: that takes a tenth of the time of DLPack,
// which counts where little is computed. Python has checked types, devices and shapes, where errors
// can name what the user gave.
struct Array {
    explicit Array(nb::handle tensor)
        : data(reinterpret_cast<void*>(nb::cast<std::intptr_t>(tensor.attr("data_ptr")()))) {
        int dimension = 0;
        for (nb::handle size : tensor.attr("shape")) shape[dimension++] = nb::cast<std::int64_t>(size);
        dimension = 0;
        for (nb::handle step : nb::object(tensor.attr("stride")())) {
            const std::int64_t elements = nb::cast<std::int64_t>(step);
            stride[dimension] = shape[dimension] == 1 ? 0 : elements;
            ++dimension;
        }
    }

    Tensor tensor() const { return {data, stride[0], stride[1], stride[2], stride[3]}; }

    void* data;
    std::int64_t shape[6] = {}, stride[6] = {};
};

// A request without what is computed. `output` has every leading dimension in full.
Request request(int type, double scale, int threads, nb::handle intervals, nb::handle query,
                nb::handle key, nb::handle value, nb::handle output, nb::handle logsumexp) {
    const Array queries(query), keys(key), values(value), outputs(output), bounds(intervals);
    Request request{};
    request.type = Type(type);
    request.batch = outputs.shape[0];
    request.heads = outputs.shape[1];
    request.group = outputs.shape[2];
    request.queries = outputs.shape[3];
    request.keys = keys.shape[3];
    request.width = queries.shape[4];
    request.value_width = values.shape[4];
    request.scale = scale;
    request.threads = is_forked ? 1 : threads;
    request.intervals = {static_cast<const std::int32_t*>(bounds.data), bounds.stride[0],
                         bounds.stride[1], bounds.stride[2], bounds.stride[3], int(bounds.shape[4])};
    request.query = queries.tensor();
    request.key = keys.tensor();
    request.value = values.tensor();
    request.output = outputs.tensor();
    request.logsumexp = Array(logsumexp).tensor();
    return request;
}

// Few queries per key: then time is that of reading the keys.
bool is_decode(const Request& request) {
    return request.queries * request.group <= 16 && request.queries <= 4 &&
           request.width % 16 == 0 && request.value_width % 16 == 0;
}

void forward(int type, double scale, int threads, nb::handle intervals, nb::handle query,
             nb::handle key, nb::handle value, nb::handle output, nb::handle logsumexp) {
    const Request asked = request(type, scale, threads, intervals, query, key, value, output,
                                  logsumexp);
    const Kernels* kernels = chosen;
    nb::gil_scoped_release release;
    (is_decode(asked) ? kernels->decode : kernels->forward)(asked);
}

void backward(int type, double scale, int threads, nb::handle intervals, nb::handle query,
              nb::handle key, nb::handle value, nb::handle output, nb::handle logsumexp,
              nb::handle output_gradient, nb::handle query_gradient, nb::handle key_gradient,
              nb::handle value_gradient) {
    Request asked = request(type, scale, threads, intervals, query, key, value, output, logsumexp);
    asked.output_gradient = Array(output_gradient).tensor();
    asked.query_gradient = Array(query_gradient).tensor();
    asked.key_gradient = Array(key_gradient).tensor();
    asked.value_gradient = Array(value_gradient).tensor();
    const Kernels* kernels = chosen;
    nb::gil_scoped_release release;
    kernels->backward(asked);
}

}  // namespace
}  // namespace qkv

NB_MODULE(_kernels, module) {
#if __has_include(<pthread.h>)
    // The threads of a process are gone in its fork; OpenMP would wait for them for ever.
    pthread_atfork(nullptr, nullptr, [] { qkv::is_forked = true; });
#endif
    qkv::chosen = qkv::supported().front();
    module.def("instruction_sets", qkv::instruction_sets);
    module.def("chosen", [] { return std::string(qkv::chosen.load()->name); });
    module.def("choose", qkv::choose);
    module.def("forward", qkv::forward);
    module.def("backward", qkv::backward);
}
