// Where a tensor lies.
#pragma once

#include <cstdint>

namespace qkv {

// A tensor [batch, heads, group, rows, columns] whose columns lie side by side. Strides count
// elements; a dimension along which the tensor is shared has stride 0. Without data it is absent.
struct Tensor {
    void* data = nullptr;
    std::int64_t batch = 0, head = 0, group = 0, row = 0;
};

}  // namespace qkv
