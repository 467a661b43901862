// Tasks over threads. The threads are those of the OpenMP runtime that torch has loaded, so that
// one pool serves both.
#pragma once

#include <cstdlib>
#include <new>
#if defined(QKV_STANDARD_THREADS)
#include <atomic>
#include <thread>
#include <vector>
#elif defined(_OPENMP)
#include <omp.h>
#endif

#include "interruption.h"
#include "vector.h"

namespace qkv::QKV_ISA {

// What a thread knows of the call that it works for.
struct Watch {
    bool* stopped;  // whether the call was interrupted
    bool asks;      // whether this is the thread that Python called
};
inline thread_local Watch watch{};

// Whether the task at hand shall end early. Long tasks ask between their pieces.
inline bool ends_early() {
    if (watch.asks && interrupted()) __atomic_store_n(watch.stopped, true, __ATOMIC_RELAXED);
    return __atomic_load_n(watch.stopped, __ATOMIC_RELAXED);
}

// Calls work(task, thread) for each task < tasks; the next free thread takes the next task. Which
// thread runs a task must not matter to the result. `work` must not throw. An interrupted call
// leaves the tasks that have not begun, and of those that have what they leave.
template <class Work>
void parallel(int threads, std::int64_t tasks, Work work) {
    if (threads > tasks) threads = int(tasks);
    bool stopped = false;
    const auto run = [&](std::int64_t task, int thread) {
        watch = {&stopped, thread == 0};
        if (!ends_early()) work(task, thread);
    };
#if defined(QKV_STANDARD_THREADS)
    std::atomic<std::int64_t> next{0};
    std::vector<std::thread> others;
    for (int thread = 0; thread < threads; ++thread)
        others.emplace_back([&, thread] {
            for (std::int64_t task; (task = next++) < tasks;) run(task, thread);
        });
    for (std::thread& other : others) other.join();
    return;
#elif defined(_OPENMP)
    if (threads > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (std::int64_t task = 0; task < tasks; ++task) run(task, omp_get_thread_num());
        return;
    }
#endif
    for (std::int64_t task = 0; task < tasks; ++task) run(task, 0);
}

// Uninitialised numbers, aligned for vectors and for the processor's cache lines.
template <class Number>
class Numbers {
   public:
    explicit Numbers(std::int64_t count)
        : data_(count == 0 ? nullptr
                           : static_cast<Number*>(std::aligned_alloc(
                                 64, std::size_t(rounded_up(count * sizeof(Number) + 1, 64))))) {
        if (count != 0 && !data_) throw std::bad_alloc();
    }
    ~Numbers() { std::free(data_); }
    Numbers(const Numbers&) = delete;
    Numbers& operator=(const Numbers&) = delete;
    Number* data() const { return data_; }

   private:
    Number* data_;
};

// Hands out pieces of a stretch of numbers, each aligned. Without a stretch it only counts.
template <class Number>
class Pieces {
   public:
    explicit Pieces(Number* begin = nullptr) : begin_(begin) {}
    Number* take(std::int64_t count) {
        Number* piece = begin_ ? begin_ + used_ : nullptr;
        used_ += rounded_up(count, 64);
        return piece;
    }
    // For something else than numbers.
    template <class Other>
    Other* take_for(std::int64_t count) {
        const std::int64_t bytes = count * std::int64_t(sizeof(Other));
        return reinterpret_cast<Other*>(take((bytes + sizeof(Number) - 1) / sizeof(Number)));
    }
    std::int64_t used() const { return used_; }

   private:
    Number* begin_;
    std::int64_t used_ = 0;
};

// Memory that each thread has a copy of, laid out as Layout(owner, pieces) takes its pieces.
template <class Layout, class Owner>
class Scratches {
   public:
    using Number = typename Owner::Number;

    Scratches(const Owner& owner, int threads)
        : owner_(owner), size_(size_of(owner)), numbers_(size_ * threads) {}

    Layout of(int thread) const {
        Pieces<Number> pieces(numbers_.data() + size_ * thread);
        return Layout(owner_, pieces);
    }

   private:
    static std::int64_t size_of(const Owner& owner) {
        Pieces<Number> counted;
        Layout(owner, counted);
        return counted.used();
    }

    const Owner& owner_;
    std::int64_t size_;
    Numbers<Number> numbers_;
};

}  // namespace qkv::QKV_ISA
