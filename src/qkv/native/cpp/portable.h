// Comes before all else in what is built for other machines (QKV_PORTABLE): functions of the C library by
// the versions that glibc 2.28 has, on which torch's own wheels stand. Newer ones differ in `errno` alone.
#pragma once

#include <features.h>

#if defined(__GLIBC__) && defined(__x86_64__)
__asm__(".symver exp2, exp2@GLIBC_2.2.5");
__asm__(".symver log2, log2@GLIBC_2.2.5");
__asm__(".symver pow, pow@GLIBC_2.2.5");
#endif
