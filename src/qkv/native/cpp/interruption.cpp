#include "interruption.h"

#include <nanobind/nanobind.h>

#include <chrono>

#include "calls.h"

namespace qkv {
namespace {

// Python's signals are looked at so often, since its lock has to be taken for that.
constexpr std::chrono::milliseconds interval{50};

thread_local bool is_interrupted = false;

}  // namespace

bool interrupted() {
    thread_local std::chrono::steady_clock::time_point looked{};
    const auto now = std::chrono::steady_clock::now();
    if (is_interrupted || now - looked < interval) return is_interrupted;
    looked = now;
    nanobind::gil_scoped_acquire acquire;
    is_interrupted = PyErr_CheckSignals() != 0;
    return is_interrupted;
}

void call(void (*pass)(const Request&), const Request& request) {
    {
        nanobind::gil_scoped_release release;
        pass(request);
    }
    if (!is_interrupted) return;
    is_interrupted = false;
    throw nanobind::python_error();
}

}  // namespace qkv
