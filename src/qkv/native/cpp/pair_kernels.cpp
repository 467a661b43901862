// The fused loops for bfloat16 that is not widened, of an instruction set that multiplies it in pairs.
// The build compiles this file once for each such set; all other requests are served by the kernels of
// another set.
#include "backward.h"
#include "forward.h"
#include "fused.h"
#if defined(QKV_TILES)
#include "tiled.h"
#endif

namespace qkv::QKV_ISA {
namespace {

#if defined(QKV_TILES)
using Arithmetic = Tiled;
bool permitted() { return tiles_permitted(); }
#else
using Arithmetic = Paired;
bool permitted() { return true; }
#endif

bool serve(const Request& request) {
    // The unit of scores is no part of the queries here: it must be a number that scores survive.
    return request.type == Type::bfloat16 && is_fused(request) &&
           __builtin_isnormal(float(request.scale)) &&
           __builtin_isnormal(float(request.scale * log2_of_e));
}

// Gradients of the numbers of a bias may be asked for in more digits than an output has whose weights
// were rounded: those of scores are made of it. Where there is a logsumexp there may be gradients.
bool serve_forward(const Request& request) {
    if (request.logsumexp.data)
        for (int i = 0; i < request.bias_count; ++i)
            if (request.biases[i].kind != BiasKind::soft_cap) return false;
    return serve(request);
}

bool serve_backward(const Request& request) {
    for (int i = 0; i < request.bias_count; ++i)
        if (request.biases[i].gradient.data) return false;
    return serve(request);
}

// Whether keys and values are whole vectors of pairs.
bool is_decode_of_pairs(const Request& request) {
    constexpr std::int64_t terms = Arithmetic::terms * lanes<float>;
    return is_decode(request) && request.width % terms == 0 && request.value_width % terms == 0;
}

void forward(const Request& request) {
    if (is_decode_of_pairs(request))
        decode<Bfloat16, Arithmetic>(request);
    else if (is_decode(request))
        decode<Bfloat16, Widened<Bfloat16>>(request);
    else
        Forward<Bfloat16, Arithmetic>(request).run();
}
void backward(const Request& request) { Backward<Bfloat16, Arithmetic>(request).run(); }

}  // namespace

extern const PairKernels pair_kernels = {QKV_ISA_NAME, permitted,     serve_forward,
                                         serve_backward, forward,       backward};

}  // namespace qkv::QKV_ISA
