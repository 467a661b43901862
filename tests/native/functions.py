"""How far the elementary functions of the kernels are from the truth, in units of the last place.

    python tests/native/functions.py

measures every instruction set that runs here and writes docs/functions.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mpmath
import torch
from torch import Tensor

from qkv import native
from qkv.native import compiled

PAGE = Path(__file__).parents[2] / "docs" / "functions.md"
POINTS = {torch.float32: 2**22, torch.float64: 2**17}  # that are measured, half of them by bits
TESTED = 2**5  # every so manieth is in a test


@dataclass(frozen=True)
class Function:
    """One of them: where it is used, what it is, and whether its error is in units of the last
    place of 1 instead of the result's."""

    formula: str
    ranges: dict[torch.dtype, tuple[float, float]]
    exact: Callable[[mpmath.mpf], mpmath.mpf]
    wide: Callable[[Tensor], Tensor]  # the same in float64, for float32
    beside_one: bool = False


def both(low: float, high: float) -> dict[torch.dtype, tuple[float, float]]:
    return {torch.float32: (low, high), torch.float64: (low, high)}


def each(
    single: tuple[float, float], double: tuple[float, float]
) -> dict[torch.dtype, tuple[float, float]]:
    return {torch.float32: single, torch.float64: double}


def _remainder(z: Tensor) -> Tensor:
    series = 0.5 + z * (1 / 6 + z * (1 / 24 + z * (1 / 120 + z / 720)))
    return torch.where(z < 1e-2, series, (torch.expm1(z) - z) / z.where(z > 0, 1) ** 2)


def _tiny(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).tiny


LN2 = float(torch.tensor(2.0, dtype=torch.float64).log())
SMALL, LARGE = _tiny(torch.float32), torch.finfo(torch.float32).max
SMALLEST, LARGEST = _tiny(torch.float64), torch.finfo(torch.float64).max

FUNCTIONS = {
    "exp2": Function(
        "2^x",
        each((-126.0, 0.5), (-1022.0, 0.5)),
        lambda x: mpmath.power(2, x),
        torch.exp2,
    ),
    "exp2_minus_one": Function(
        "2^x − 1",
        each((-40.0, 0.0), (-80.0, 0.0)),
        lambda x: mpmath.expm1(x * mpmath.ln2),
        lambda x: torch.expm1(x * LN2),
    ),
    "power_of_twice": Function(
        "e^2x",
        each((-21.0, 21.0), (-176.0, 176.0)),
        lambda x: mpmath.exp(2 * x),
        lambda x: torch.exp(2 * x),
    ),
    "share": Function(
        "1 / (1 + e^2x)",
        each((-LARGE, LARGE), (-LARGEST, LARGEST)),
        lambda x: 1 / (1 + mpmath.exp(2 * max(x, -1000))) if x < 1000 else mpmath.mpf(0),
        lambda x: torch.sigmoid(-2 * x),
        beside_one=True,
    ),
    "log2": Function(
        "log2(x)",
        each((SMALL, LARGE), (SMALLEST, LARGEST)),
        lambda x: mpmath.log(x) / mpmath.ln2,
        torch.log2,
    ),
    "log2_of_1_and": Function(
        "log2(1 + x)",
        each((-1 + 2.0**-24, 0.0), (-1 + 2.0**-53, 0.0)),
        lambda x: mpmath.log1p(x) / mpmath.ln2,
        lambda x: torch.log1p(x) / LN2,
    ),
    "tanh": Function(
        "tanh(x)",
        each((-LARGE, LARGE), (-LARGEST, LARGEST)),
        lambda x: mpmath.tanh(x) if abs(x) < 1000 else mpmath.sign(x),
        torch.tanh,
    ),
    "tanh_slope": Function(
        "tanh'(x)",
        each((-LARGE, LARGE), (-LARGEST, LARGEST)),
        lambda x: mpmath.sech(x) ** 2 if abs(x) < 1000 else mpmath.mpf(0),
        lambda x: torch.cosh(x.clamp(-300, 300)) ** -2,
        beside_one=True,
    ),
    "second_remainder": Function(
        "(e^x − 1 − x) / x²",
        each((1e-30, 80.0), (1e-30, 700.0)),
        lambda x: (mpmath.expm1(x) - x) / x**2,
        _remainder,
    ),
}


def apply(name: str, x: Tensor) -> Tensor:
    """By the instruction set in use."""
    result = torch.empty_like(x)
    compiled.kernels().apply(name, native.TYPES.index(x.dtype), x, result)
    return result


@cache
def points(name: str, dtype: torch.dtype, every: int = 1) -> Tensor:
    """Arguments: some evenly spaced, as many evenly among the numbers that there are, and the
    ends."""
    low, high = FUNCTIONS[name].ranges[dtype]
    count = POINTS[dtype] // 2
    share = torch.linspace(0, 1, count, dtype=torch.float64)
    even = low * (1 - share) + high * share
    places = _place(torch.tensor([low, high], dtype=dtype)).double()
    among = _number((places[0] * (1 - share) + places[1] * share).long(), dtype)
    ends = torch.tensor([low, high], dtype=dtype)
    some = torch.cat([even.to(dtype)[::every], among[::every]])
    return torch.cat([some[(some >= low) & (some <= high)], ends])


def _place(numbers: Tensor) -> Tensor:
    """Of numbers among all of their type: neighbours have neighbouring places."""
    integer, last = _integers(numbers.dtype)
    bits = numbers.view(integer).long()
    return torch.where(bits < 0, -(bits & last), bits)


def _number(places: Tensor, dtype: torch.dtype) -> Tensor:
    integer, _ = _integers(dtype)
    magnitude = places.abs().to(integer).view(dtype)
    return torch.where(places < 0, -magnitude, magnitude)


def _integers(dtype: torch.dtype) -> tuple[torch.dtype, int]:
    return (torch.int32, 2**31 - 1) if dtype == torch.float32 else (torch.int64, 2**63 - 1)


@cache
def exact(name: str, dtype: torch.dtype, every: int = 1) -> tuple[Tensor, Tensor]:
    """Of each point the result as the sum of two float64 numbers."""
    function, x = FUNCTIONS[name], points(name, dtype, every)
    if dtype == torch.float32:
        whole = function.wide(x.double())
        return whole, torch.zeros_like(whole)
    with mpmath.workprec(400):
        results = [function.exact(mpmath.mpf(number)) for number in x.tolist()]
        whole = [float(result) for result in results]
        rest = [float(r - w) for r, w in zip(results, whole, strict=True)]
    return torch.tensor(whole, dtype=x.dtype), torch.tensor(rest, dtype=x.dtype)


def largest_error(name: str, dtype: torch.dtype, every: int = 1) -> float:
    """In units of the last place, by the instruction set in use."""
    found = apply(name, points(name, dtype, every)).double()
    whole, rest = exact(name, dtype, every)
    size = torch.ones_like(whole) if FUNCTIONS[name].beside_one else whole.abs()
    info = torch.finfo(dtype)
    exponent = torch.frexp(size.clamp(min=info.tiny)).exponent - 1
    unit = torch.ldexp(torch.full_like(whole, info.eps), exponent)
    return ((found - whole - rest).abs() / unit).max().item()


def documented() -> dict[tuple[str, torch.dtype, str], float]:
    """The errors of docs/functions.md by function, type and instruction set."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in lines if line.startswith("|")]
    columns = [name.rsplit(" ", 1) for name in rows[0][3:]]
    types = {"float32": torch.float32, "float64": torch.float64}
    return {
        (row[0].strip("`"), types[dtype], isa): float(error)
        for row in rows[2:]
        for (isa, dtype), error in zip(columns, row[3:], strict=True)
    }


def table() -> str:
    # Those that multiply pairs of bfloat16 have the functions of x86-64-v4.
    names = [isa for isa in native.instruction_sets() if not isa.endswith("-bf16")]
    kinds = [(isa, dtype) for dtype in POINTS for isa in names]
    head = [f"{isa} {str(dtype).removeprefix('torch.')}" for isa, dtype in kinds]
    lines = [["function", "what", "between", *head], ["---"] * (3 + len(head))]
    for name, function in FUNCTIONS.items():
        errors = []
        for isa, dtype in kinds:
            native.use(isa)
            errors.append(f"{largest_error(name, dtype) + 0.005:.2f}")  # rounded up
        what = function.formula + (" *" if function.beside_one else "")
        lines.append([f"`{name}`", what, _between(function), *errors])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _between(function: Function) -> str:
    single, double = (function.ranges[dtype] for dtype in POINTS)
    told = f"{single[0]:.3g} and {single[1]:.3g}"
    return told if single == double else f"{told}; {double[0]:.3g} and {double[1]:.3g}"


def main() -> None:
    measured = table()
    before = PAGE.read_text(encoding="utf-8")
    start, end = (before.index(f"<!-- {mark} -->") for mark in ("table", "end"))
    page = before[:start] + "<!-- table -->\n" + measured + "\n" + before[end:]
    temporary = PAGE.with_suffix(".new")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(PAGE)


if __name__ == "__main__":
    main()
