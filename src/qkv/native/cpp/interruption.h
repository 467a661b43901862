// Ctrl-C while the kernels run. They ask between pieces of work whether to go on, and the module
// raises the exception when they are back.
#pragma once

namespace qkv {

// Whether the work shall end early: what is asked for is then left unfinished. Cheap; only the
// thread that Python called may ask. Defined by the module, once for all instruction sets.
bool interrupted();

}  // namespace qkv
