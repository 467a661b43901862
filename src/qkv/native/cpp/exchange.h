// Where a tensor lies, asked of torch in C: DLPack's exchange interface, version 1
// (dmlc.github.io/dlpack, "Fast Exchange of DLPack Tensors"), which torch has from 2.10 on.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>

namespace qkv {

struct ExchangedTensor {
    void* data;
    std::int32_t device_type, device_number;
    std::int32_t dimensions;
    std::uint8_t type_code, type_bits;
    std::uint16_t type_lanes;
    const std::int64_t *shape, *strides;
    std::uint64_t byte_offset;
};

struct Exchange {
    std::uint32_t major, minor;
    Exchange* older;
    void *allocate, *export_owned, *import;
    int (*view)(void* tensor, ExchangedTensor* found);  // non-owning; not 0: an exception is set
    void* current_stream;
};

// The view of a tensor by that interface; null if torch has none that we know.
inline auto find_view() -> decltype(Exchange::view) {
    namespace nb = nanobind;
    const nb::object type = nb::module_::import_("torch").attr("Tensor");
    const nb::object capsule = nb::getattr(type, "__dlpack_c_exchange_api__", nb::none());
    const char* name = "dlpack_exchange_api";
    if (!PyCapsule_IsValid(capsule.ptr(), name)) return nullptr;
    const auto* found = static_cast<const Exchange*>(PyCapsule_GetPointer(capsule.ptr(), name));
    while (found && found->major > 1) found = found->older;
    return found && found->major == 1 ? found->view : nullptr;
}

}  // namespace qkv
