#!/bin/sh
# The native kernels under sanitisers of GCC: builds them anew in build/ and runs their tests.
#
#   scripts/sanitize.sh address,undefined [arguments of pytest]
#   scripts/sanitize.sh thread
#
# Tensors get their memory from malloc, so that reads beyond their ends are seen. Under "thread"
# tests/native/races.py runs, with four threads for the kernels and one for torch.
set -e
which=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/sanitize-$which
python=${PYTHON:-$root/.venv/bin/python}
nanobind=${NANOBIND:-$($python -m nanobind --cmake_dir)}
mkdir -p "$root/build"
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DQKV_SANITIZE="$which" \
    -DPython_EXECUTABLE="$python" -Dnanobind_DIR="$nanobind" >"$build.log"
cmake --build "$build"

# A copy of the package with these kernels, found before an editable install.
mkdir -p "$build/package"
cp -r "$root/src/qkv" "$build/package/"
cp "$build"/_kernels*.so "$build/package/qkv/native/"
cat >"$build/package/sitecustomize.py" <<'PYTHON'
import sys
sys.meta_path = [f for f in sys.meta_path if not type(f).__module__.startswith("_editable_")]
PYTHON
export PYTHONPATH="$build/package" OMP_NUM_THREADS=1
# Python frees little at its end, and that is no leak of the kernels.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1

case $which in
*thread*)
    LD_PRELOAD=$(g++ -print-file-name=libtsan.so) $python "$root/tests/native/races.py"
    ;;
*)
    # Beside it the library of C++, or it would not find the function that throws.
    both="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
    LD_PRELOAD=$both $python -m pytest "$root/tests/native" "$@"
    ;;
esac
