// The Python module: describes tensors to the kernels, picks the instruction set.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif

#include <atomic>
#include <string>
#include <vector>

#include "instruction_sets.h"  // made by the build: QKV_FOR_EACH_ISA(of) calls of(isa) for each
#include "calls.h"
#include "parse.h"

namespace qkv {

#define QKV_DECLARE(isa)              \
    namespace isa {                   \
    extern const Kernels kernels;     \
    }
QKV_FOR_EACH_ISA(QKV_DECLARE)

namespace {

std::atomic<bool> is_forked = false;

// As it can run in this process.
Request runnable(Request request) {
    if (is_forked) request.threads = 1;
    return request;
}

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

// Tells whether all of the output is finite.
bool forward(const Request& request) {
    const Kernels* kernels = chosen;
    call(kernels->forward, request);
    return kernels->output_is_finite(request);
}

// Writes an elementary function of one number after the other.
void apply(const std::string& name, int type, nb::handle from, nb::handle to) {
    const Array numbers(from);
    chosen.load()->apply(kind_of<Function>(name, function_names), Type(type), numbers.data,
                         Array::address(to), numbers.shape[0]);
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
    module.def("types", [] { return qkv::type_names; });
    module.def("normalizers", [] { return qkv::normalizer_names; });
    module.def("functions", [] { return qkv::function_names; });
    module.def("apply", qkv::apply);
    module.attr("most_biases") = qkv::most_biases;
    module.def("forward",
               [](nb::handle asked) { return qkv::forward(qkv::runnable(qkv::parse(asked))); });
    module.def("plain_forward",
               [](nb::handle query, nb::handle key, nb::handle value, nb::handle output,
                  nb::handle logsumexp, nb::handle intervals, int type, double scale, int threads) {
                   const qkv::Plain plain(query, key, value, output, logsumexp, intervals, type,
                                          scale, threads);
                   return qkv::forward(qkv::runnable(plain.request));
               },
               nb::arg("query"), nb::arg("key"), nb::arg("value"), nb::arg("output"),
               nb::arg("logsumexp").none(), nb::arg("intervals").none(), nb::arg("type"),
               nb::arg("scale"), nb::arg("threads"));
    module.def("plain_backward",
               [](nb::handle query, nb::handle key, nb::handle value, nb::handle output,
                  nb::handle logsumexp, nb::handle intervals, int type, double scale, int threads,
                  nb::handle output_gradient, nb::handle of_query, nb::handle of_key,
                  nb::handle of_value) {
                   qkv::Plain plain(query, key, value, output, logsumexp, intervals, type, scale,
                                    threads);
                   plain.set_gradients(output_gradient, of_query, of_key, of_value);
                   qkv::call(qkv::chosen.load()->backward, qkv::runnable(plain.request));
               },
               nb::arg("query"), nb::arg("key"), nb::arg("value"), nb::arg("output"),
               nb::arg("logsumexp"), nb::arg("intervals").none(), nb::arg("type"),
               nb::arg("scale"), nb::arg("threads"), nb::arg("output_gradient"),
               nb::arg("of_query"), nb::arg("of_key"), nb::arg("of_value"));
    module.def("backward", [](nb::handle asked) {
        qkv::call(qkv::chosen.load()->backward, qkv::runnable(qkv::parse(asked)));
    });
}
