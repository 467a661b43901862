// For builds for other machines (QKV_PORTABLE): what headers since GCC 11 ask of libstdc++ and the one
// of GCC 8 does not have, whose symbols torch's own wheels keep to. Each is made of what it has.
#include <new>

#if defined(__GLIBCXX__) && defined(__x86_64__)
#define HIDDEN extern "C" __attribute__((visibility("hidden")))

HIDDEN [[noreturn]] void qkv_throw_bad_length() __asm__("_ZSt28__throw_bad_array_new_lengthv");
void qkv_throw_bad_length() { throw std::bad_array_new_length(); }

// A pointer to an exception counts its copies. Its methods that count are new; the ones that copy and
// end it, which count as well, are old. By version: inline ones of this build would call the new ones.
extern "C" void qkv_copied(void **copy, void *const *exception);
extern "C" void qkv_ended(void **exception);
__asm__(".symver qkv_copied, _ZNSt15__exception_ptr13exception_ptrC1ERKS0_@CXXABI_1.3.3");
__asm__(".symver qkv_ended, _ZNSt15__exception_ptr13exception_ptrD1Ev@CXXABI_1.3.3");

HIDDEN void qkv_count(void **self) __asm__("_ZNSt15__exception_ptr13exception_ptr9_M_addrefEv");
void qkv_count(void **self) {
    void *copy = nullptr;
    qkv_copied(&copy, self);
}

HIDDEN void qkv_uncount(void **self) __asm__("_ZNSt15__exception_ptr13exception_ptr10_M_releaseEv");
void qkv_uncount(void **self) {
    void *last = *self;
    *self = nullptr;
    qkv_ended(&last);
}
#endif
