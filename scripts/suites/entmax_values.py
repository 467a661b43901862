"""The functions of entmax beside the normalizers of qkv, for scores of several kinds: weights are
those of the package in float64, not negative, of sum 1, and 0 at the same places up to rounding;
gradients are the package's. float32 is held to twice the package's own error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any

import torch
from torch import Tensor

from qkv.impl import choose
from qkv.testing import assert_close

from .case import Case, gradients, leaf
from .entmax_functions import entmax15, entmax_bisect, sparsemax

NAME = "entmax, its values"
PACKAGES = ("entmax",)
ASKED_BY = "qkv"

IMPLS = [name for name in choose.NAMES if name != "torch"]  # whose kernels know softmax alone


def cases() -> Iterator[Case]:
    """Every function beside its values."""
    for (function, (theirs, ours)), (name, draw) in product(FUNCTIONS.items(), SCORES.items()):
        for dtype, impl in product((torch.float64, torch.float32), IMPLS):
            run = partial(beside, theirs, ours, draw, dtype, impl)
            yield Case(f"{function} of {name} scores in {dtype}, impl={impl}", run)
    for dtype, impl in product((torch.float64, torch.float32), IMPLS):
        run = partial(beside, theirs_of("entmax_bisect"), entmax_bisect, row_by_row, dtype, impl)
        yield Case(f"entmax_bisect at an alpha for each row in {dtype}, impl={impl}", run)


def theirs_of(name: str, **options: Any) -> Callable[..., Tensor]:
    """A function of the package along the last dimension."""
    return lambda *inputs: getattr(import_module("entmax"), name)(*inputs, dim=-1, **options)


FUNCTIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "sparsemax": (theirs_of("sparsemax"), sparsemax),
    "entmax15": (theirs_of("entmax15"), entmax15),
    **{
        f"entmax_bisect at alpha {alpha}": (
            theirs_of("entmax_bisect", alpha=alpha),
            partial(entmax_bisect, alpha=alpha),
        )
        for alpha in (1.05, 1.25, 1.5, 1.75, 2.0, 2.25, 4.0)
    },
}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def hidden() -> Tensor:
    return normal(5, 12).masked_fill(normal(5, 12) > 0.5, -torch.inf)


def row_by_row() -> tuple[Tensor, Tensor]:
    """Scores, and an alpha for each of their rows."""
    return normal(5, 12), 1.05 + 0.9 * torch.rand(5, 1, dtype=torch.float64)


SCORES: dict[str, Callable[[], Tensor]] = {
    "usual": lambda: normal(5, 12),
    "tiny": lambda: 1e-5 * normal(5, 12),
    "large": lambda: 1e4 * normal(5, 12),
    "equal": lambda: torch.zeros(2, 7, dtype=torch.float64),
    "tied": lambda: normal(5, 6).round().repeat(1, 2),
    "some hidden": hidden,
    "one key's": lambda: normal(4, 1),
    "a thousand": lambda: 0.5 * normal(3, 1000),
}


def beside(
    theirs: Callable[..., Tensor],
    ours: Callable[..., Tensor],
    draw: Callable[[], Tensor | tuple[Tensor, ...]],
    dtype: torch.dtype,
    impl: str,
) -> None:
    """Weights of some scores (and an alpha for each row, where there is one) by both, and the
    gradients of all that is drawn."""
    drawn = draw()
    inputs = [x.to(dtype) for x in (drawn if isinstance(drawn, tuple) else (drawn,))]
    found = outcomes(partial(ours, impl=impl), inputs, dtype)
    right, baseline = (outcomes(theirs, inputs, own) for own in (torch.float64, dtype))
    # Halving ends 2^-50 of the first interval from the threshold.
    rounding = 64 * torch.finfo(dtype).eps
    weights = found[0]
    assert bool((weights >= 0).all()), "a weight is negative"
    assert_close(weights.sum(-1), torch.ones(len(weights)).double(), what="sum", rounding=rounding)
    support = (weights > rounding) == (right[0] > rounding)
    assert bool(support.all()), "another support"
    names = ("weights", "gradient of scores", "gradient of alpha")[: len(found)]
    for what, *parts in zip(names, found, right, baseline, strict=True):
        assert_close(*parts, what=what, rounding=rounding)


def outcomes(
    function: Callable[..., Tensor], inputs: list[Tensor], dtype: torch.dtype
) -> list[Tensor]:
    """Weights and gradients, computed in a type."""
    leaves = [leaf(tensor, dtype) for tensor in inputs]
    weights = function(*leaves)
    return [weights, *gradients(weights, leaves)]
