"""A request as the compiled kernels read it, attribute by attribute (cpp/request.h, cpp/parse.h).

Everything is in the engine's canonical layout `[batch, Hk, G, L, D]`; of the first three dimensions
(and of rows and columns where said) any may be 1: shared. None is what is absent. "The type of the
arithmetic" is float64 for float64, else float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# In the order of the enumerations of cpp/request.h.
TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
NORMALIZERS = ("softmax", "sigmoid", "identity", "sparsemax", "entmax15", "entmax", "topk")
BIASES = ("cells", "distance", "soft_cap")


@dataclass
class Bias:
    """One step of the chain of biases, in the type of the arithmetic.

    `kind` (an index of `BIASES`) says what is read:

    * cells: `values` `[batch, Hk, G, Lq, Lk]`, each dimension in full or 1, is added. Columns lie
      side by side.
    * distance: `values` `[batch, Hk, G, numbers]`, numbers side by side;
      `values[..., j - position_i + origin]` is added.
    * soft_cap: `limit * tanh(score / limit)`.
    """

    kind: int
    values: Tensor | None = None
    origin: int = 0
    limit: float = 0.0
    gradient: Tensor | None = None  # of `values`, which is added to; None: not asked for


@dataclass
class Statistics:
    """Where statistics of the weights are written: those that are not None. See
    cpp/statistics/wanted.h. In the type of the arithmetic where no other is named."""

    entropy: Tensor | None = None  # `[batch, Hk, G, Lq]`
    distance: Tensor | None = None  # likewise
    support: Tensor | None = None  # int64, likewise
    top_weights: Tensor | None = None  # `[batch, Hk, G, Lq, k]`
    top_keys: Tensor | None = None  # int64, likewise
    mass: Tensor | None = None  # `[batch, Hk, G, Lk]`
    pool: Tensor | None = None  # `[batch, Hk, G, rows, columns]`
    pool_maximum: bool = False  # else the sum
    chosen: Tensor | None = None  # int64 `[n]`: of these keys
    chosen_weights: Tensor | None = None  # the weights `[batch, Hk, G, Lq, n]`, in the inputs' type
    collected_from: Tensor | None = None  # x, `[batch, Hk, G or 1, Lq, n]`, in the inputs' type
    collected: Tensor | None = None  # weights.mT @ x, `[batch, Hk, G, Lk, n]`, likewise


@dataclass
class Request:
    """See cpp/request.h. `plain` says that no attribute behind it differs from its default: the
    module does not look at them then."""

    type: int
    lead: tuple[int, ...]  # batch, Hk, G, Lq
    scale: float
    threads: int
    intervals: Tensor  # int32 `[batch, Hk, G, Lq or 1, n, 2]` within the keys
    query: Tensor
    key: Tensor
    value: Tensor | None = None
    output: Tensor | None = None  # in the type of the arithmetic, for `backward` reads it again
    logsumexp: Tensor | None = None  # float64 `[batch, Hk, G, Lq]`
    output_gradient: Tensor | None = None
    query_gradient: Tensor | None = None
    key_gradient: Tensor | None = None
    value_gradient: Tensor | None = None
    plain: bool = True
    additive_weight: Tensor | None = None  # `[D]`, in the type of the arithmetic
    biases: tuple[Bias, ...] = ()
    positions: Tensor | None = None  # int64 `[batch, Hk, G, Lq]`; None: 0, 1, ...
    bits: Tensor | None = None  # uint8 `[batch, Hk, G, Lq or 1, ceil(Lk / 8)]`, the low bit first
    normalizer: int = 0
    parameter: Tensor | None = None  # float64 `[batch, Hk, G, 1]`: sink, bias of sigmoid, or alpha
    top: int = 0
    dropout_states: Tensor | None = None  # int64 `[batch, Hk, G, Lq]`
    dropout_threshold: int = 0
    dropout_factor: float = 1.0
    additive_weight_gradient: Tensor | None = None  # `[D]`, in the type of the arithmetic
    parameter_gradient: Tensor | None = None  # float64 `[batch, Hk, G, 1]`
    statistics: Statistics | None = None
