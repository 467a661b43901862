"""Checks an installed wheel: that all of it is there, and computes what it is to compute.

    python -I scripts/check_wheel.py               where no compiler is found
    python -I scripts/check_wheel.py --inductor    `torch.compile` with one

Needs torch alone. Without a compiler `torch.compile` has its backend "aot_eager"; its usual one,
"inductor", calls a compiler for what stands around the kernels.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from importlib.metadata import files, metadata
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import qkv
from qkv import native

SETS = ("amx-bf16", "avx512-bf16", "plain-tiles", "x86-64-v4", "x86-64-v3", "baseline")
FILES = (
    *("qkv/py.typed", "qkv/native/_kernels.pyi", "qkv/viewer/page/map.js"),
    *(f"qkv/weights/{name}/model.safetensors" for name in ("en-zh", "reviews", "images")),
)


def main() -> None:
    """Runs all checks; the first that fails says so."""
    ensure(Path(qkv.__file__).is_relative_to(sys.prefix), "the installed package is imported")
    ensure(native.unavailable_reason() is None, f"kernels: {native.unavailable_reason()}")
    if sys.argv[1:] == ["--inductor"]:
        check_compiled("inductor")
        told = "torch.compile with Inductor is right"
    else:
        check_without_compiler()
        sets = ", ".join(native.instruction_sets())
        told = f"files, {sets}, torch.compile and the command are right"
    ours = f"qkv {qkv.__version__} on Python {platform.python_version()}"
    print(f"{ours}, torch {torch.__version__}: {told}")


def check_without_compiler() -> None:
    """All that needs none, each set of instructions."""
    for compiler in ("cc", "c++", "gcc", "g++", "clang", "clang++"):
        ensure(shutil.which(compiler) is None, f"{compiler} is not to be found")
    check_files()
    check_one_pool()
    for name in native.instruction_sets():
        native.use(name)
        check_values()
    native.use(native.instruction_sets()[0])
    check_errors()
    check_compiled("aot_eager")
    check_command()


def ensure(right: object, what: str) -> None:
    """Ends the program unless something is as it is to be."""
    if not right:
        raise SystemExit(f"wrong: {what}")


def check_files() -> None:
    """What a wheel has to hold, the licences of what is linked in too, and nothing to build it."""
    names = {str(file) for file in files("qkv") or ()}
    for name in FILES:
        ensure(name in names, f"{name} is in the wheel")
    licences = metadata("qkv").get_all("License-File") or []
    for name in ("LICENSE", "licenses/nanobind.txt", "licenses/robin-map.txt"):
        ensure(name in licences, f"{name} is told in the metadata")
    ensure(not any("/cpp/" in name for name in names), "no source of the kernels is in the wheel")
    (kernels,) = Path(native.__file__).parent.glob("_kernels*.so")
    content = kernels.read_bytes()
    for name in SETS:
        ensure(name.encode() in content, f"the kernels are built for {name}")
    ensure(b"libtorch" not in content and b"libc10" not in content, "no library of torch is asked")


def check_one_pool() -> None:
    """The OpenMP that torch brings is the one in use."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    loaded = {line.split()[-1] for line in maps if "libgomp" in line}
    torch_folder = Path(torch.__file__).parent
    ensure(
        len(loaded) == 1 and Path(*loaded).is_relative_to(torch_folder),
        f"the OpenMP of torch is the only one; got {loaded}",
    )


def check_values() -> None:
    """Output and gradients beside torch's in float64."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 33, 16, requires_grad=True) for _ in range(3))
    found = with_gradients(qkv.scaled_dot_product_attention, query, key, value)
    wide = (tensor.detach().double().requires_grad_() for tensor in (query, key, value))
    for ours, theirs in zip(
        found, with_gradients(F.scaled_dot_product_attention, *wide), strict=True
    ):
        close(ours, theirs)
    matrix = qkv.attention(query, key, normalizer=qkv.Sparsemax(), impl="native")
    reference = qkv.attention(query, key, normalizer=qkv.Sparsemax(), impl="reference")
    close(matrix @ value, reference @ value)


def with_gradients(function, *vectors: Tensor) -> list[Tensor]:
    output = function(*vectors, is_causal=True)
    return [output, *torch.autograd.grad(output.square().sum(), vectors)]


def close(ours: Tensor, theirs: Tensor) -> None:
    difference = (ours - theirs).abs().max().item()
    ensure(difference < 1e-4, f"{native.instruction_set()} differs by {difference}")


def check_errors() -> None:
    """An exception of C++ arrives as one of Python, many times over."""
    for _ in range(100):
        try:
            native.use("none")
        except ValueError as error:
            ensure("must be one of" in str(error), "the error says what there is")
        else:
            ensure(False, "an unknown instruction set is refused")


def check_compiled(backend: str) -> None:
    """A compiled program, its backward pass too."""

    def function(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        matrix = qkv.attention(query, key, mask=qkv.Causal())
        return matrix @ value + matrix.entropy().unsqueeze(-1)

    program = torch.compile(function, backend=backend, fullgraph=True)
    vectors = [torch.randn(1, 2, 9, 8, requires_grad=True) for _ in range(3)]
    for one, other in zip(gradients(program, vectors), gradients(function, vectors), strict=True):
        close(one, other)


def gradients(function, vectors: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(function(*vectors).square().sum(), vectors)


def check_command() -> None:
    """The command, without the packages of the extras."""
    command = [sys.executable, "-I", "-m", "qkv", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ensure(qkv.__version__ in told, f"qkv --version tells its version; got {told!r}")


if __name__ == "__main__":
    main()
