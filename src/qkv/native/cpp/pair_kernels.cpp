// The loops over inner products of an instruction set that multiplies bfloat16 in pairs: for bfloat16,
// which is not widened, and by tiles also for float16 and float32, which are taken to pieces. The build
// compiles this file once for each such set; all other requests are served by the kernels of another set.
#include "backward.h"
#include "forward.h"
#include "fused.h"
#include "strip.h"
#include "strip_backward.h"
#if defined(QKV_TILES)
#include "in_range.h"
#include "tiled.h"
#endif

namespace qkv::QKV_ISA {
namespace {

#if defined(QKV_TILES)
using OfBfloat16 = Tiled<Bfloat16>;
bool permitted() { return tiles_permitted(); }
#else
using OfBfloat16 = Paired;
bool permitted() { return true; }
#endif

bool has_cells_added(const Request& request) {
    for (int i = 0; i < request.bias_count; ++i)
        if (request.biases[i].kind != BiasKind::soft_cap) return true;
    return false;
}

bool has_gradients_of_cells(const Request& request) {
    for (int i = 0; i < request.bias_count; ++i)
        if (request.biases[i].gradient.data) return true;
    return false;
}

// The unit of scores is no part of the queries here: it must be a number that scores survive.
bool serve_bfloat16(const Request& request) {
    return __builtin_isnormal(float(request.scale)) &&
           __builtin_isnormal(float(request.scale * log2_of_e));
}

bool serve(const Request& request) {
    if (request.score != ScoreKind::dot_product) return false;
    const bool fused = is_fused(request);
    // Of fewer rows most of what a step of a strip computes would be thrown away.
    if (!fused && request.queries < OfBfloat16::rows) return false;
    // Statistics have the digits of float32; of products of halves in pieces fewer count.
    if (request.type == Type::float16 && has_statistics(request)) return false;
    if (request.type == Type::bfloat16) return serve_bfloat16(request);
#if defined(QKV_TILES)
    return serve_pieces(request) && !(fused && is_decode(request));
#else
    return false;
#endif
}

// Gradients of the numbers of a bias may be asked for in more digits than an output of halves has: those
// of scores are made of it. Where there is a logsumexp there may be gradients.
bool serve_forward(const Request& request) {
    const bool exact = request.type == Type::float32;
    return serve(request) && (exact || !request.logsumexp.data || !has_cells_added(request));
}

bool serve_backward(const Request& request) {
    const bool exact = request.type == Type::float32;
    return serve(request) && (exact || !has_gradients_of_cells(request));
}

// Whether keys and values are whole vectors of pairs.
bool is_decode_of_pairs(const Request& request) {
    constexpr std::int64_t terms = OfBfloat16::terms * lanes<float>;
    return is_decode(request) && request.width % terms == 0 && request.value_width % terms == 0;
}

template <class Storage, class Arithmetic>
void run_forward(const Request& request) {
    if (is_fused(request))
        Forward<Storage, Arithmetic>(request).run();
    else
        StripForward<Storage, Arithmetic>(request).run();
}

template <class Storage, class Arithmetic>
void run_backward(const Request& request) {
    if (is_fused(request))
        Backward<Storage, Arithmetic>(request).run();
    else
        StripBackward<Storage, Arithmetic>(request).run();
}

void forward(const Request& request) {
#if defined(QKV_TILES)
    if (request.type == Type::float32) return run_forward<float, Tiled<float>>(request);
    if (request.type == Type::float16) return run_forward<Float16, Tiled<Float16>>(request);
#endif
    if (!is_fused(request) || !is_decode(request))
        run_forward<Bfloat16, OfBfloat16>(request);
    else if (is_decode_of_pairs(request))
        decode<Bfloat16, OfBfloat16>(request);
    else
        decode<Bfloat16, Widened<Bfloat16>>(request);
}

void backward(const Request& request) {
#if defined(QKV_TILES)
    if (request.type == Type::float32) return run_backward<float, Tiled<float>>(request);
    if (request.type == Type::float16) return run_backward<Float16, Tiled<Float16>>(request);
#endif
    if (is_fused(request) && is_decode(request))
        decode_backward<Bfloat16>(request);
    else
        run_backward<Bfloat16, OfBfloat16>(request);
}

}  // namespace

extern const PairKernels pair_kernels = {QKV_ISA_NAME, permitted,     serve_forward,
                                         serve_backward, forward,       backward};

}  // namespace qkv::QKV_ISA
