"""Says whether the native kernels are there to be tested.

    python scripts/kernels.py

Fails where a compiler is found and they are not: then their build failed, which an install passes
over.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys

from qkv import native

# As CMake looks for one; the kernels are written for GCC and Clang.
COMPILERS = ("c++", "g++", "clang++")


def compiler() -> str | None:
    """The compiler that a build takes: what CXX names, else the first that is there."""
    named = shlex.split(os.environ.get("CXX", ""))[:1]
    return next((name for name in named or COMPILERS if shutil.which(name)), None)


def main() -> int:
    reason, found = native.unavailable_reason(), compiler()
    if reason is None:
        print(f"native kernels: {', '.join(native.instruction_sets())}")
        return 0
    if found is None:
        print(f"native kernels: no compiler was found, so they are not tested ({reason})")
        return 0
    print(
        f"native kernels: {found} is there, and they are not ({reason}). Why their build failed"
        " says pip install --verbose --no-deps -C cmake.define.QKV_STRICT=ON -e .",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
