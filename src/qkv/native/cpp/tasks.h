// How the work of a request is shared among threads. A task is a head or a part of one; a part has
// its own copy of what several add to, so that it does not matter which thread runs it.
#pragma once

#include "threads.h"
#include "visible.h"

namespace qkv::QKV_ISA {

QKV_INLINE std::int64_t key_heads(const Request& request) { return request.batch * request.heads; }

// The first query head of the i-th key head.
QKV_INLINE Lead key_head(const Request& request, std::int64_t i) {
    return {i / request.heads, i % request.heads, 0};
}

QKV_INLINE std::int64_t query_heads(const Request& request) {
    return key_heads(request) * request.group;
}

QKV_INLINE Lead query_head(const Request& request, std::int64_t i) {
    Lead lead = key_head(request, i / request.group);
    lead.member = i % request.group;
    return lead;
}

// Into how many parts each of some heads must be split for so many tasks per thread.
QKV_INLINE std::int64_t parts_for(int threads, std::int64_t heads, int tasks_per_thread) {
    return threads == 1 ? 1 : tasks_per_thread * threads / heads + 1;
}

// Into how many parts, at most `most`, a head is split whose parts all cost about the same: not at all
// where whole heads keep all threads busy. `joins_heads`: tasks of one part run one after the other,
// whatever their head.
inline std::int64_t parts_of_head(const Request& request, std::int64_t most, bool joins_heads) {
    const std::int64_t heads = joins_heads ? 1 : key_heads(request);
    if (heads % request.threads == 0) return 1;
    return smaller(parts_for(request.threads, heads, 2), most);
}

// Calls work(task, thread) for task = head * parts + part of all key heads.
template <class Work>
void parallel_parts(const Request& request, std::int64_t parts, bool joins_heads, Work work) {
    const std::int64_t heads = key_heads(request);
    if (!joins_heads) return parallel(request.threads, heads * parts, work);
    parallel(request.threads, parts, [&](std::int64_t part, int thread) {
        for (std::int64_t head = 0; head < heads; ++head) work(head * parts + part, thread);
    });
}

}  // namespace qkv::QKV_ISA
