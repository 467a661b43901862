// The Python module: describes tensors to the kernels, picks the instruction set.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
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
#define QKV_DECLARE_PAIRS(isa)                 \
    namespace isa {                            \
    extern const PairKernels pair_kernels;     \
    }
QKV_FOR_EACH_PAIR_ISA(QKV_DECLARE_PAIRS)

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
    if (name == "plain-tiles") return runs_here("x86-64-v4");
    if (name == "avx512-bf16")
        return runs_here("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
    if (name == "amx-bf16") {
        constexpr unsigned products = 1u << 22, tiles = 1u << 24;
        unsigned a, b, c, d;
        return runs_here("avx512-bf16") && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
               (d & products) && (d & tiles);
    }
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

// Kernels, and what serves some requests in their place, or null.
struct InstructionSet {
    const char* name;
    const Kernels* kernels;
    const PairKernels* pairs;
};

// Whether a set is for tests alone, which name it.
bool is_emulation(const InstructionSet& set) { return set.name == std::string("plain-tiles"); }

// Whether products of pairs take longer than those of widened numbers: on processors of others than AMD
// the instruction that multiplies pairs in registers has half the rate.
bool is_slow(const InstructionSet& set) {
#if defined(__x86_64__)
    return set.name == std::string("avx512-bf16") && !__builtin_cpu_is("amd");
#else
    return false;
#endif
}

// Those that this processor runs and the system permits, the fastest first.
const std::vector<InstructionSet>& supported() {
    static const std::vector<InstructionSet> found = [] {
        std::vector<InstructionSet> fast, slow;
        const auto add = [&](const InstructionSet& set) {
            if (!runs_here(set.name) || (set.pairs && !set.pairs->permitted())) return;
            (is_slow(set) || is_emulation(set) ? slow : fast).push_back(set);
        };
#define QKV_ADD_PAIRS(isa) \
    add({isa::pair_kernels.name, &x86_64_v4::kernels, &isa::pair_kernels});
        QKV_FOR_EACH_PAIR_ISA(QKV_ADD_PAIRS)
#define QKV_ADD(isa) add({isa::kernels.name, &isa::kernels, nullptr});
        QKV_FOR_EACH_ISA(QKV_ADD)
        fast.insert(fast.end(), slow.begin(), slow.end());
        return fast;
    }();
    return found;
}

std::atomic<const InstructionSet*> chosen = nullptr;

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const InstructionSet& set : supported())
        if (!is_emulation(set)) names.push_back(set.name);
    return names;
}

// Those that this processor has and the system keeps from this process.
std::vector<std::string> refused() {
    std::vector<std::string> names;
#define QKV_ADD_REFUSED(isa) \
    if (runs_here(isa::pair_kernels.name) && !isa::pair_kernels.permitted()) \
        names.push_back(isa::pair_kernels.name);
    QKV_FOR_EACH_PAIR_ISA(QKV_ADD_REFUSED)
    return names;
}

void choose(const std::string& name) {
    for (const InstructionSet& set : supported())
        if (set.name == name) {
            chosen = &set;
            return;
        }
    throw nb::value_error(("this processor or this build has no " + name).c_str());
}

// Tells whether all of the output is finite.
bool forward(const Request& request) {
    const InstructionSet& set = *chosen;
    const bool by_pairs = set.pairs && set.pairs->serve_forward(request);
    call(by_pairs ? set.pairs->forward : set.kernels->forward, request);
    return set.kernels->output_is_finite(request);
}

void backward(const Request& request) {
    const InstructionSet& set = *chosen;
    const bool by_pairs = set.pairs && set.pairs->serve_backward(request);
    call(by_pairs ? set.pairs->backward : set.kernels->backward, request);
}

// Writes an elementary function of one number after the other.
void apply(const std::string& name, int type, nb::handle from, nb::handle to) {
    const Array numbers(from);
    chosen.load()->kernels->apply(kind_of<Function>(name, function_names), Type(type), numbers.data,
                         Array(to).data, numbers.shape[0]);
}

}  // namespace
}  // namespace qkv

NB_MODULE(_kernels, module) {
#if __has_include(<pthread.h>)
    // The threads of a process are gone in its fork; OpenMP would wait for them for ever.
    pthread_atfork(nullptr, nullptr, [] { qkv::is_forked = true; });
#endif
    qkv::chosen = &qkv::supported().front();
    module.def("instruction_sets", qkv::instruction_sets);
    module.def("refused", qkv::refused);
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
                   qkv::backward(qkv::runnable(plain.request));
               },
               nb::arg("query"), nb::arg("key"), nb::arg("value"), nb::arg("output"),
               nb::arg("logsumexp"), nb::arg("intervals").none(), nb::arg("type"),
               nb::arg("scale"), nb::arg("threads"), nb::arg("output_gradient"),
               nb::arg("of_query"), nb::arg("of_key"), nb::arg("of_value"));
    module.def("backward", [](nb::handle asked) {
        qkv::backward(qkv::runnable(qkv::parse(asked)));
    });
}
