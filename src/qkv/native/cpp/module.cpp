// The Python module: checks tensors, describes them to the kernels, picks the instruction set.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
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

// Shapes are checked in Python, where errors can name what the user gave.
using Array = nb::ndarray<nb::device::cpu>;

Type type_of(const Array& array) {
    const nb::dlpack::dtype type = array.dtype();
    const bool is_bfloat = type.code == std::uint8_t(nb::dlpack::dtype_code::Bfloat);
    if (type.bits == 64) return Type::float64;
    if (type.bits == 32) return Type::float32;
    return is_bfloat ? Type::bfloat16 : Type::float16;
}

std::int64_t stride(const Array& array, int dimension) {
    return array.shape(dimension) == 1 ? 0 : array.stride(dimension);
}

Tensor tensor(const Array& array) {
    return {array.data(), stride(array, 0), stride(array, 1), stride(array, 2), stride(array, 3)};
}

// A request without outputs. `whole` has every leading dimension in full, and the queries.
Request request(const Array& whole, const Array& query, const Array& key, const Array& value,
                const Array& intervals, double scale, int threads) {
    Request request{};
    request.type = type_of(query);
    request.batch = whole.shape(0);
    request.heads = whole.shape(1);
    request.group = whole.shape(2);
    request.queries = whole.shape(3);
    request.keys = key.shape(3);
    request.width = query.shape(4);
    request.value_width = value.shape(4);
    request.scale = scale;
    request.threads = is_forked ? 1 : threads;
    const Tensor bounds = tensor(intervals);
    request.intervals = {static_cast<const std::int32_t*>(bounds.data), bounds.batch, bounds.head,
                         bounds.group, bounds.row, int(intervals.shape(4))};
    request.query = tensor(query);
    request.key = tensor(key);
    request.value = tensor(value);
    return request;
}

// Few queries per key: then time is that of reading the keys.
bool is_decode(const Request& request) {
    return request.queries * request.group <= 16 && request.queries <= 4 &&
           request.width % 16 == 0 && request.value_width % 16 == 0;
}

void forward(const Array& query, const Array& key, const Array& value, const Array& intervals,
             double scale, int threads, const Array& output, const Array& logsumexp) {
    Request asked = request(output, query, key, value, intervals, scale, threads);
    asked.output = tensor(output);
    asked.logsumexp = tensor(logsumexp);
    const Kernels* kernels = chosen;
    nb::gil_scoped_release release;
    (is_decode(asked) ? kernels->decode : kernels->forward)(asked);
}

void backward(const Array& query, const Array& key, const Array& value, const Array& intervals,
              double scale, int threads, const Array& output, const Array& logsumexp,
              const Array& output_gradient, const Array& query_gradient, const Array& key_gradient,
              const Array& value_gradient) {
    Request asked = request(output, query, key, value, intervals, scale, threads);
    asked.output = tensor(output);
    asked.logsumexp = tensor(logsumexp);
    asked.output_gradient = tensor(output_gradient);
    asked.query_gradient = tensor(query_gradient);
    asked.key_gradient = tensor(key_gradient);
    asked.value_gradient = tensor(value_gradient);
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
