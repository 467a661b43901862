// The kernels of one instruction set, QKV_ISA. The build compiles this file once for each.
#include "backward.h"
#include "decode.h"
#include "finite.h"
#include "forward.h"
#include "functions.h"
#include "fused.h"
#include "request.h"
#include "strip.h"
#include "strip_backward.h"

namespace qkv::QKV_ISA {
namespace {

template <template <class> class Pass>
void run(const Request& request) {
    switch (request.type) {
        case Type::float32: return Pass<float>{request}.run();
        case Type::float64: return Pass<double>{request}.run();
        case Type::bfloat16: return Pass<Bfloat16>{request}.run();
        case Type::float16: return Pass<Float16>{request}.run();
    }
}

template <class Storage>
struct AnyDecode {
    const Request& request;
    void run() const { decode<Storage, Widened<Storage>>(request); }
};

template <class Storage>
struct AnyDecodeBackward {
    const Request& request;
    void run() const { decode_backward<Storage>(request); }
};

void forward(const Request& request) {
    if (!is_fused(request))
        run<StripForward>(request);
    else if (is_decode(request))
        run<AnyDecode>(request);
    else
        run<Forward>(request);
}

void backward(const Request& request) {
    if (!is_fused(request))
        run<StripBackward>(request);
    else if (is_decode(request))
        run<AnyDecodeBackward>(request);
    else
        run<Backward>(request);
}

}  // namespace

extern const Kernels kernels = {QKV_ISA_NAME, forward, backward, output_is_finite, apply};

}  // namespace qkv::QKV_ISA
