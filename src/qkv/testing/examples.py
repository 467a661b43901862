"""Examples of every stage and measure: the domain that tests draw from.

The tests fail if a class in one of the closed tuples (`qkv.scores.SCORES`, ...) has no entry here.
So a new stage is tested as soon as it is listed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..biases import BIASES
from ..biases.alibi import ALiBi
from ..biases.base import Bias
from ..biases.custom import CustomBias
from ..biases.relative import RelativeBias
from ..biases.softcap import SoftCap
from ..biases.tensor import TensorBias
from ..blocks.cells import Cells
from ..masks.causal import Causal
from ..masks.custom import CustomMask
from ..masks.dense import Dense
from ..masks.documents import Documents
from ..masks.intervals import Intervals
from ..masks.padding import Padding
from ..masks.prefix import Prefix
from ..masks.window import Window
from ..measures.cells import Columns, Top
from ..measures.diagonals import Diagonals
from ..measures.pool import Pool
from ..measures.product import Collected, Product
from ..measures.statistics import Distance, Entropy, LogSumExp, Mass, Support
from ..nn.grid import GridBias
from ..normalizers.custom import CustomNormalizer
from ..normalizers.entmax import Entmax
from ..normalizers.entmax15 import Entmax15
from ..normalizers.identity import Identity
from ..normalizers.sigmoid import Sigmoid
from ..normalizers.softmax import Softmax
from ..normalizers.sparsemax import Sparsemax
from ..normalizers.topk import TopK
from ..scores.additive import Additive
from ..scores.bilinear import Bilinear
from ..scores.cosine import Cosine
from ..scores.custom import CustomScore
from ..scores.dot import Dot
from ..scores.gaussian import Gaussian

Draw = Callable[..., Tensor]

# Layers bring a bias of their own.
EVERY_BIAS: tuple[type[Bias], ...] = (*BIASES, GridBias)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a request. If `heads` is None its tensors have no head dimension."""

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
class Fading:
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


def _relative(sizes: Sizes, draw: Draw) -> list[Any]:
    heads = sizes.heads or 1
    return [
        RelativeBias(draw(heads, 8), max_distance=5),
        RelativeBias(draw(1, 6), bidirectional=False, max_distance=4),
    ]


def _grid(sizes: Sizes, draw: Draw) -> list[Any]:
    heads = sizes.heads or 1
    return [
        GridBias(draw(heads, 5), draw(heads, 3), width=2),
        GridBias(draw(1, 3), draw(1, 7), width=4),
        GridBias(draw(heads, 3), draw(1, 5), width=3),
    ]


def _documents(sizes: Sizes, draw: Draw) -> list[Any]:
    keys = sizes.keys
    return [
        Documents(lengths=torch.tensor([min(1, keys), 0, max(0, keys - 3)])),
        Documents(ids=torch.arange(keys) // 2),
        Documents(ids=torch.arange(sizes.first * keys).view(sizes.first, keys) % 3),
    ]


def _intervals(sizes: Sizes, draw: Draw) -> list[Any]:
    place = torch.arange(sizes.queries)
    start = place // 2 - 1
    everywhere = torch.arange(prod(sizes.lead)).view(*sizes.lead, 1)  # one per entry of the lead
    return [
        Intervals(start, start + 3),
        Intervals((everywhere + place) % 3, (everywhere + 2 * place) % 6),
        Intervals(torch.zeros(1, dtype=torch.int32), everywhere),
    ]


@dataclass(frozen=True)
class Faded:
    """A callable bias with a captured parameter."""

    strength: Tensor

    def __call__(self, scores: Tensor, cells: Cells) -> Tensor:
        """Scores of a tile."""
        place = (cells.position - cells.col + cells.head).to(scores.dtype)
        return scores * 0.5 + torch.sin(place) * self.strength.to(scores.dtype)


@dataclass(frozen=True)
class Squares:
    """A callable normalizer with a captured parameter."""

    offset: Tensor

    def __call__(self, scores: Tensor, visible: Tensor) -> Tensor:
        """Weights of whole rows."""
        squares = (scores + self.offset.to(scores.dtype)).square() * visible
        return squares / squares.sum(-1, keepdim=True).clamp(min=1)


def _checkered(cells: Cells) -> Tensor:
    return (cells.row + cells.col + cells.head) % 3 != 0


def _pool(sizes: Sizes) -> list[Any]:
    if 0 in (sizes.queries, sizes.keys):
        return []
    return [Pool(min(2, sizes.queries), min(3, sizes.keys), how) for how in ("mean", "sum", "max")]


_EXAMPLES: dict[type, Callable[[Sizes, Draw], list[Any]]] = {
    Dot: lambda sizes, draw: [Dot(), Dot(0.3)],
    Additive: _additive,
    CustomScore: lambda sizes, draw: [CustomScore(Fading(draw(sizes.width)))],
    Softmax: lambda sizes, draw: [Softmax(), Softmax(0.5), Softmax(draw(1))],
    Bilinear: lambda sizes, draw: [
        Bilinear(draw(sizes.width, sizes.width)),
        Bilinear(draw(sizes.width, sizes.width), 0.4),
    ],
    Cosine: lambda sizes, draw: [Cosine(2.0)],
    Gaussian: lambda sizes, draw: [Gaussian(1.3)],
    Sparsemax: lambda sizes, draw: [Sparsemax()],
    Entmax15: lambda sizes, draw: [Entmax15()],
    Entmax: lambda sizes, draw: [
        Entmax(1.3),
        Entmax(draw(1).square() + 1.1),
        Entmax(2.5),
        Entmax(1),
    ],
    Sigmoid: lambda sizes, draw: [Sigmoid(-0.5), Sigmoid(draw(1))],
    TopK: lambda sizes, draw: [TopK(2), TopK(99)],
    Identity: lambda sizes, draw: [Identity()],
    CustomNormalizer: lambda sizes, draw: [CustomNormalizer(Squares(draw(1)))],
    Window: lambda sizes, draw: [Window(1, 2), Window(0, None)],
    Prefix: lambda sizes, draw: [Prefix(2), Prefix(0)],
    Documents: _documents,
    Intervals: _intervals,
    CustomMask: lambda sizes, draw: [CustomMask(_checkered)],
    ALiBi: lambda sizes, draw: [ALiBi(draw(sizes.heads or 1).square()), ALiBi(draw(1))],
    RelativeBias: _relative,
    GridBias: _grid,
    SoftCap: lambda sizes, draw: [SoftCap(1.2)],
    CustomBias: lambda sizes, draw: [CustomBias(Faded(draw(1)))],
    Distance: lambda sizes, draw: [Distance()],
    Diagonals: lambda sizes, draw: [Diagonals([-1, 0, 1]), Diagonals([2, -2, 2, 99])],
    Support: lambda sizes, draw: [Support()],
    Pool: lambda sizes, draw: _pool(sizes),
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
