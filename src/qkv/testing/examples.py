"""Examples of every stage and measure: the domain that tests draw from.

A class in one of the closed tuples (`qkv.scores.SCORES`, ...) without an entry here makes the tests
fail, so a new stage is tested as soon as it is listed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._cells import Cells
from ..biases.tensor import TensorBias
from ..masks.causal import Causal
from ..masks.dense import Dense
from ..masks.padding import Padding
from ..measures.cells import Columns, Top
from ..measures.product import Collected, Product
from ..measures.statistics import Entropy, LogSumExp, Mass
from ..normalizers.softmax import Softmax
from ..normalizers.sparsemax import Sparsemax
from ..scores.additive import Additive
from ..scores.custom import CustomScore
from ..scores.dot import Dot

Draw = Callable[..., Tensor]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a request; `heads` None means tensors without a head dimension."""

    batch: tuple[int, ...] = (2,)
    heads: int | None = 4
    key_heads: int | None = 2
    queries: int = 5
    keys: int = 6
    width: int = 3
    value_width: int = 2

    @property
    def lead(self) -> tuple[int, ...]:
        """The leading dimensions of the matrix."""
        return () if self.heads is None else (*self.batch, self.heads)

    @property
    def key_lead(self) -> tuple[int, ...]:
        """The leading dimensions of keys and values."""
        return () if self.key_heads is None else (*self.batch, self.key_heads)

    @property
    def first(self) -> int:
        """The size of the first leading dimension."""
        return self.lead[0] if self.lead else 1


@dataclass(frozen=True)
class Distance:
    """A callable score with a captured parameter: a weighted distance that fades with the places
    of query, key, head and batch entry."""

    strength: Tensor

    def __call__(self, query: Tensor, key: Tensor, cells: Cells) -> Tensor:
        """Scores of a tile."""
        difference = query.unsqueeze(-2) - key.unsqueeze(-3)
        place = cells.position - 2 * cells.col + 3 * cells.head + 5 * cells.batch
        fading = torch.cos(place.to(query.dtype))
        strength = self.strength.to(query.dtype)  # a tile is float32 where the matrix is narrower
        return -(difference.square() @ strength.square()) + fading


def drawing(seed: int) -> Draw:
    """Standard normal numbers in float64 from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    return draw


def examples(kind: type, sizes: Sizes, draw: Draw) -> list[Any]:
    """Instances of a stage or measure that fit a request of these sizes.

    Raises:
        KeyError: the class has no entry in this file.
    """
    if kind not in _EXAMPLES:
        raise KeyError(f"{kind.__name__} has no examples yet: add some to {__name__}")
    return _EXAMPLES[kind](sizes, draw)


def _additive(sizes: Sizes, draw: Draw) -> list[Any]:
    return [Additive(draw(sizes.width)), Additive(draw(sizes.width), draw(sizes.width))]


def _padding(sizes: Sizes, draw: Draw) -> list[Any]:
    lengths = torch.arange(sizes.first) * 4 % (sizes.keys + 1)  # 0 is among them
    return [Padding(lengths), Padding(torch.tensor(max(0, sizes.keys - 2)))]


def _dense(sizes: Sizes, draw: Draw) -> list[Any]:
    allowed = draw(*sizes.lead, sizes.queries, sizes.keys) > -0.3
    allowed[..., :1, :] = False
    return [Dense(allowed), Dense(draw(sizes.queries, 1) > 0), Dense(draw(1, sizes.keys) > 0)]


def _tensor_bias(sizes: Sizes, draw: Draw) -> list[Any]:
    full = draw(*sizes.lead, sizes.queries, sizes.keys)
    holes = draw(sizes.queries, sizes.keys)
    holes[holes > 0.5] = -torch.inf
    holes[-1:] = -torch.inf
    return [TensorBias(full), TensorBias(holes), TensorBias(draw(sizes.keys))]


def _product(sizes: Sizes, draw: Draw) -> list[Any]:
    lead = sizes.key_lead
    return [
        Product(draw(*lead, sizes.keys, sizes.value_width)),
        Product(draw(*lead, sizes.keys, sizes.width)),
        Product(draw(sizes.keys, sizes.value_width)),
    ]


def _collected(sizes: Sizes, draw: Draw) -> list[Any]:
    return [Collected(draw(*sizes.lead, sizes.queries, sizes.value_width))]


def _columns(sizes: Sizes, draw: Draw) -> list[Any]:
    return [Columns(torch.arange(sizes.keys).flip(0)[:4])]


def _top(sizes: Sizes, draw: Draw) -> list[Any]:
    return [Top(k) for k in (2, 1, sizes.keys) if 0 < k <= sizes.keys]


_EXAMPLES: dict[type, Callable[[Sizes, Draw], list[Any]]] = {
    Dot: lambda sizes, draw: [Dot(), Dot(0.3)],
    Additive: _additive,
    CustomScore: lambda sizes, draw: [CustomScore(Distance(draw(sizes.width)))],
    Softmax: lambda sizes, draw: [Softmax()],
    Sparsemax: lambda sizes, draw: [Sparsemax()],
    Causal: lambda sizes, draw: [Causal()],
    Padding: _padding,
    Dense: _dense,
    TensorBias: _tensor_bias,
    Product: _product,
    Collected: _collected,
    Columns: _columns,
    Top: _top,
    Mass: lambda sizes, draw: [Mass()],
    Entropy: lambda sizes, draw: [Entropy()],
    LogSumExp: lambda sizes, draw: [LogSumExp()],
}
