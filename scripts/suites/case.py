"""What suites are made of: a case passes, is refused with a reason, or fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch

import qkv

PASSED, REFUSED, FAILED = "passed", "refused", "failed"


class RefusedError(Exception):
    """qkv has nothing for what a case asks. The text says what is asked."""


class Case(NamedTuple):
    """A question of a suite; `run` raises where the answer is not what the suite expects."""

    name: str
    run: Callable[[], object]


class Outcome(NamedTuple):
    """How a case went; the reason is empty where it passed."""

    name: str
    status: str
    reason: str


def outcome(case: Case) -> Outcome:
    """Runs a case, with fixed random numbers."""
    torch.manual_seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.run()
    except (RefusedError, qkv.UnsupportedError) as refusal:
        return Outcome(case.name, REFUSED, str(refusal))
    except Exception as error:  # whatever a suite raises tells of a difference
        return Outcome(case.name, FAILED, " ".join(f"{type(error).__name__}: {error}".split()))
    return Outcome(case.name, PASSED, "")


def gradients(output: torch.Tensor, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    """Those of a fixed weighted sum of an output, 0 for a leaf that has no part in it."""
    seed = cotangent(output)
    found = torch.autograd.grad(output, leaves, seed, allow_unused=True, materialize_grads=True)
    return list(found)


def cotangent(output: torch.Tensor) -> torch.Tensor:
    """The weights of that sum, the same in every type."""
    made = torch.Generator().manual_seed(1)
    drawn = torch.randn(output.shape, generator=made, dtype=torch.float64)
    return drawn.to(torch.bfloat16).to(output.dtype)


def leaf(tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """The same numbers as a tensor of its own that asks for a gradient."""
    return tensor.detach().to(dtype or tensor.dtype).clone().requires_grad_()
