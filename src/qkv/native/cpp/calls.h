// Calls of a kernel from Python.
#pragma once

#include "request.h"

namespace qkv {

// Runs a pass of the kernels without Python's lock. Throws what a signal handler raised meanwhile.
void call(void (*pass)(const Request&), const Request& request);

}  // namespace qkv
