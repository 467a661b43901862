"""What is measured: works, their cases, who competes in them and what should be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from qkv import Product
from qkv.bench.limits import Limit
from qkv.measures.base import Measure

HEADS = 8

Results = tuple[Tensor, ...]


@dataclass(frozen=True)
class Inputs:
    """The tensors of a case. With a cotangent of the output, gradients of all the others are part
    of the work."""

    query: Tensor
    key: Tensor
    value: Tensor
    parameters: Results = ()
    cotangent: Tensor | None = None

    @property
    def leaves(self) -> Results:
        """What gradients are taken of."""
        return self.query, self.key, self.value, *self.parameters

    def to(self, dtype: torch.dtype) -> Inputs:
        """The same numbers in another dtype, apart from the graph of these."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.detach().to(dtype).requires_grad_(tensor.requires_grad)

        leaves = [moved(tensor) for tensor in self.leaves]
        cotangent = None if self.cotangent is None else self.cotangent.to(dtype)
        return Inputs(leaves[0], leaves[1], leaves[2], tuple(leaves[3:]), cotangent)

    def with_cotangent_of(self, rows: Tensor) -> Inputs:
        """The same, with a cotangent that is 0 in all rows but these."""
        if self.cotangent is None:
            return self
        kept = torch.zeros_like(self.cotangent)
        kept[..., rows, :] = self.cotangent[..., rows, :]
        return replace(self, cotangent=kept)

    def outcome(self, output: Tensor) -> Results:
        """The output, and the gradients of all leaves where they belong to the work."""
        if self.cotangent is None:
            return (output,)
        return output.detach(), *torch.autograd.grad(output, self.leaves, self.cotangent)


def inputs(
    query: tuple[int, ...],
    key: tuple[int, ...] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    backward: bool = False,
    parameters: int = 0,
) -> Inputs:
    """Normal numbers, the same in every run. Key and value have one shape; default: that of the
    query. With `parameters` there is also a parameter vector of so many numbers."""
    generator = torch.Generator().manual_seed(0)

    def numbers(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    leaves = [numbers(shape) for shape in (query, key or query, key or query)]
    vectors = [numbers((parameters,))] if parameters else []
    for tensor in (*leaves, *vectors):
        tensor.requires_grad_(backward)
    cotangent = numbers(query) if backward else None
    return Inputs(leaves[0], leaves[1], leaves[2], tuple(vectors), cotangent)


def tensors(result: Any) -> Results:
    """Results as they came: a tensor or a tuple of them."""
    return (result,) if isinstance(result, Tensor) else tuple(result)


@dataclass(frozen=True)
class Contender:
    """Somebody who answers the request of a case.

    `prepare` is not timed and gives the call that is; `read` turns what the call returned into
    results in the order and layout of the oracle, and is not timed either.
    """

    name: str
    prepare: Callable[[], Callable[[], Any]]
    read: Callable[[Any], Results] = tensors
    packages: tuple[str, ...] = ()  # what must be installed
    needs: int = 0  # bytes of working memory, where they are many
    compiled: bool = False  # takes many seconds to prepare
    gives: int | None = None  # only so many of the oracle's results; None: all


@dataclass(frozen=True)
class Target:
    """What should be reached: qkv at least so many times as quick as a peer, or, where `against`
    is a limit of the machine, at least this share of it."""

    against: str
    at_least: float

    def __str__(self) -> str:
        if self.against in set(Limit):
            return f"at least {100 * self.at_least:g} %"
        if self.at_least < 1:
            return f"at most {1 / self.at_least:.3g} × its time"
        return f"at least {self.at_least:g} ×"


@dataclass(frozen=True)
class Case:
    """One request, at one size.

    `amount` is what a call computes or reads: floating-point operations or bytes, after `limit`.
    """

    name: str
    inputs: Callable[[], Inputs]
    options: Callable[[Inputs], dict[str, Any]]
    peers: Callable[[Inputs], list[Contender]]
    targets: tuple[Target, ...] = ()
    amount: float = 0.0
    limit: Limit | None = None
    measures: Callable[[Inputs], tuple[Measure, ...]] = lambda inputs: (Product(inputs.value),)
    whole: bool = False  # results that need all rows: the oracle computes the whole matrix


@dataclass(frozen=True)
class Work:
    """Cases of one subject, at the lengths that are measured, and at those of a quick run."""

    name: str
    title: str
    cases: Callable[[int], list[Case]]
    lengths: tuple[int, ...]
    quick: tuple[int, ...]


def operations(pairs: int, width: int, backward: bool) -> float:
    """Floating-point operations of attention over so many pairs of query and key: two products
    forward, five backward."""
    return 2.0 * pairs * width * (7 if backward else 2)
