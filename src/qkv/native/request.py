"""What is asked of the compiled kernels, as they read it, attribute by attribute (cpp/parse.h).

Everything is in the engine's canonical layout `[batch, Hk, G, L, D]`; of the first three dimensions
(and of rows and columns where said) any may be 1: shared. None is what is absent. "The type of the
arithmetic" is float64 for float64, else float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)  # as in cpp/request.h
MOST_BIASES = 8  # likewise
STEEPEST = 2.0  # alpha of entmax: beyond it weights rise infinitely steeply from the threshold on


@dataclass(frozen=True)
class Bias:
    """One step of the chain of biases. Numbers are in the type of the arithmetic; `backward` gives
    the gradient of those that require one."""

    kind: str  # one of those of cpp/request.h
    values: Tensor | None = None
    origin: int = 0
    limit: float = 0.0

    @staticmethod
    def of_cells(values: Tensor) -> Bias:
        """Adds `values` `[batch, Hk, G, Lq, Lk]`, each dimension in full or 1; -inf hides a
        pair."""
        side_by_side = values.stride(-1) == 1 or values.shape[-1] == 1
        return Bias("cells", values if side_by_side else values.contiguous())

    @staticmethod
    def of_distances(values: Tensor, origin: int) -> Bias:
        """Adds `values[..., j - position_i + origin]`, values `[batch, Hk, G, numbers]`, which have
        an entry for every distance of a key from a query."""
        return Bias("distance", values.contiguous(), origin)

    @staticmethod
    def soft_cap(limit: float) -> Bias:
        """`limit * tanh(score / limit)`; a score of -inf stays."""
        return Bias("soft_cap", limit=limit)


def bits_of(visible: Tensor) -> Tensor:
    """A mask, bool `[batch, Hk, G, Lq, Lk]` with 1 where it is shared (not over keys), as bits:
    uint8 `[batch, Hk, G, Lq, ceil(Lk / 8)]`, key j in bit `j % 8` of byte `j // 8`."""
    padded = torch.nn.functional.pad(visible, (0, -visible.shape[-1] % 8)).unflatten(-1, (-1, 8))
    weight = 2 ** torch.arange(8, dtype=torch.uint8, device=visible.device)
    return (padded * weight).sum(-1, dtype=torch.uint8)


@dataclass(frozen=True)
class Dropout:
    """A weight is dropped where the 32-bit number of its cell is below the threshold; others are
    multiplied by the factor. `qkv.stage.dropout` says how the states, int64
    `[batch, Hk, G, Lq]`, and columns become numbers."""

    states: Tensor
    threshold: int
    factor: float


@dataclass(frozen=True)
class Stages:
    """What happens to the scores between the two products.

    Args:
        intervals: integers `[batch, Hk, G, Lq, n, 2]`: n ranges `[start, stop)` of keys that each
            query sees; None for all keys. The first four dimensions may be 1.
        bits: which of these keys each query sees: `bits_of` a mask.
        biases: applied to the scores in this order.
        positions: of the queries among the keys, for biases of distances and statistics: int64
            `[batch, Hk, G, Lq]`, of which the first three may be 1; None for 0, 1, ...
        additive_weight: `[D]` in the type of the arithmetic: the score is additive with this
            weight. The scale is not used then.
        normalizer: the name of one of those of cpp/request.h.
        parameter: the sink of softmax, the bias of sigmoid, the alpha of entmax (more than 1, up to
            `STEEPEST`), as float64 `[batch, Hk, G, 1]`.
        top: the k of topk.
        dropout: of the weights.
        gaussian: the score is `-|scale * (query - key)|^2 / 2`.
    """

    intervals: Tensor | None = None
    bits: Tensor | None = None
    biases: tuple[Bias, ...] = ()
    positions: Tensor | None = None
    additive_weight: Tensor | None = None
    normalizer: str = "softmax"
    parameter: Tensor | None = None
    top: int = 0
    dropout: Dropout | None = None
    gaussian: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a pass computes of the weights beside their product with the values; `qkv.measures` says
    what each is."""

    logsumexp: bool = False  # of a softmax
    entropy: bool = False
    distance: bool = False
    support: bool = False
    mass: bool = False
    top: int = 0
    pool: tuple[int, int, str] | None = None  # rows, columns; "max" or "sum"
    columns: Tensor | None = None  # int64 `[n]`: of which keys
    diagonals: Tensor | None = None  # int64 `[n]`: of the keys so far ahead of each query
    collected: Tensor | None = None  # x, `[batch, Hk, G or 1, Lq, n]`, in the type of the inputs


NOTHING = Wanted()


@dataclass
class Results:
    """What a pass gives, in the type of the arithmetic where no other is named; None is what was
    not asked for."""

    output: Tensor | None = None  # `[batch, Hk, G, Lq, Dv]`; zeros for a query that sees nothing
    # The natural logarithm of each row's sum of exponentials, without the sink's: float64
    # `[batch, Hk, G, Lq]`, so that `backward` gets the weights back from it without losing digits.
    logsumexp: Tensor | None = None
    entropy: Tensor | None = None  # `[batch, Hk, G, Lq]`
    distance: Tensor | None = None  # likewise
    support: Tensor | None = None  # int64, likewise
    mass: Tensor | None = None  # `[batch, Hk, G, Lk]`
    top_weights: Tensor | None = None  # `[batch, Hk, G, Lq, k]`
    top_keys: Tensor | None = None  # int64, likewise
    pool: Tensor | None = None  # `[batch, Hk, G, rows, columns]`
    chosen_weights: Tensor | None = None  # `[batch, Hk, G, Lq, n]`, in the inputs' type
    diagonals: Tensor | None = None  # `[batch, Hk, G, Lq, n]`
    collected: Tensor | None = None  # weights.mT @ x, `[batch, Hk, G, Lk, n]`, likewise


@dataclass
class Gradients:
    """Of query, key and value in their types and shapes; of the others, where there are such, in
    theirs."""

    query: Tensor
    key: Tensor
    value: Tensor
    additive_weight: Tensor | None
    parameter: Tensor | None
    biases: tuple[Tensor | None, ...]  # of the numbers of each


@dataclass
class Request:
    """All of it; cpp/request.h is the same for the kernels. What is not None of `results` and
    `gradients` is written, but for `results` beside `gradients`, which are then read."""

    type: int  # a place in `TYPES`
    lead: tuple[int, ...]  # batch, Hk, G, Lq
    scale: float
    threads: int
    query: Tensor
    key: Tensor
    value: Tensor
    intervals: Tensor  # int32 `[batch, Hk, G, Lq or 1, n, 2]` within the keys
    stages: Stages  # the rest of them
    results: Results
    wanted: Wanted = NOTHING
    output_gradient: Tensor | None = None
    gradients: Gradients | None = None  # for every batch entry and head

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compute."""
        return 0 in self.lead or self.key.shape[-2] == 0
