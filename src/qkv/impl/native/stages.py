"""A request in canonical form as the native kernels take it: `[batch, Hk, G, L, D]`.

Everything here is made by differentiable operations, so that gradients of what the kernels take
become gradients of what the user gave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from math import prod

import torch
from torch import Tensor

from ...biases.base import Bias, DistanceBias, ProductBias
from ...biases.softcap import SoftCap
from ...biases.tensor import TensorBias
from ...blocks.layout import Layout
from ...blocks.tiling import Block
from ...ground.once import once
from ...ground.tensors import accumulation_dtype, of_rank
from ...native.request import MOST_BIASES, STEEPEST, Dropout, Stages, bits_of
from ...native.request import Bias as NativeBias
from ...normalizers.base import Normalizer
from ...normalizers.entmax import Entmax
from ...normalizers.entmax15 import Entmax15
from ...normalizers.identity import Identity
from ...normalizers.sigmoid import Sigmoid
from ...normalizers.softmax import Softmax
from ...normalizers.sparsemax import Sparsemax
from ...normalizers.topk import TopK
from ...request.parts import Pieces, cut
from ...request.problem import Problem
from ...scores.additive import Additive
from ...scores.apart import of_rows_apart
from ...scores.base import Score
from ...scores.gaussian import Gaussian
from ...stage.dropout import row_states

WIDEST = 256  # of queries, keys and values
MOST_KEYS = 2**31 - 1  # intervals of keys are told in 32 bits
MOST_APART = 2**20  # query offsets: a bias by distance is told for all distances between them

_NORMALIZERS: dict[type[Normalizer], str] = {
    Softmax: "softmax",
    Sigmoid: "sigmoid",
    Identity: "identity",
    Sparsemax: "sparsemax",
    Entmax15: "entmax15",
    Entmax: "entmax",
    TopK: "topk",
}
_MASK_BLOCK = 2**22  # cells of a dense mask that become bits at a time


@dataclass(frozen=True)
class Operands:
    """What the kernels take of a matrix. Tensors that depend on the user's are differentiable."""

    query: Tensor
    key: Tensor
    value: Tensor | None
    scale: float
    stages: Stages

    @property
    def vectors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of a product."""
        assert self.value is not None
        return self.query, self.key, self.value

    @property
    def inputs(self) -> list[Tensor | None]:
        """What the kernels have gradients of."""
        stages = self.stages
        values = [bias.values for bias in stages.biases]
        parameters = (stages.additive_weight, stages.parameter, *values)
        return [self.query, self.key, self.value, *parameters]


def too_many_keys(keys: int) -> bool:
    """Whether the kernels cannot count so many."""
    return keys > MOST_KEYS


def has_own_loops(score: Score) -> bool:
    """Whether the kernels know the score, though it is no inner product."""
    return type(score) in (Additive, Gaussian)


class Fixed:
    """What the kernels are told of a problem that no gradient flows through. Each is found once,
    for the forward pass and the backward pass alike."""

    def __init__(self, problem: Problem, pieces: Pieces) -> None:
        self.problem, self.pieces = problem, pieces
        self.cells = problem.cells(_whole(problem.layout), pieces.places)

    @once
    def intervals(self) -> Tensor | None:
        """What the mask shows as int32 `[batch, Hk, G, Lq, n, 2]`, or None where it is no such
        thing."""
        problem, layout = self.problem, self.problem.layout
        if problem.mask is None:
            return None
        found = problem.mask.intervals(self.cells, *self.pieces.mask)
        if found is None:
            return None
        bounds = [
            torch.as_tensor(bound, device=problem.device)
            for interval in found
            for bound in interval
        ]
        bounds = [of_rank(bound.clamp(0, layout.keys), len(layout.lead) + 2) for bound in bounds]
        ranges = torch.cat(torch.broadcast_tensors(*bounds), -1)  # [batch..., Hk, G, Lq, 2n]
        return one_batch(ranges, layout).unflatten(-1, (-1, 2)).to(torch.int32)

    @once
    def bits(self) -> Tensor | None:
        """What a mask that is no intervals shows as bits, uint8
        `[batch, Hk, G, Lq, ceil(Lk / 8)]`."""
        problem, layout = self.problem, self.problem.layout
        mask = problem.mask
        if mask is None or self.intervals is not None:
            return None
        step = max(1, _MASK_BLOCK // max(1, prod(layout.lead) * layout.keys))
        parts = []
        for start in range(0, layout.queries, step):
            block = replace(_whole(layout), rows=(start, min(layout.queries, start + step)))
            cells = problem.cells(block, cut(block, problem.parts.places))
            own = [block.take(tensor.detach(), axes) for tensor, axes in problem.parts.mask]
            visible = of_rank(mask.visible(cells, *own), len(layout.lead) + 2)
            rows = block.rows[1] - block.rows[0]
            parts.append(bits_of(visible.expand(*visible.shape[:-2], rows, layout.keys)))
        return one_batch(torch.cat(parts, -2), layout).contiguous()

    @once
    def positions(self) -> Tensor | None:
        """Of the queries among the keys, `[batch, Hk, G, Lq]`; None where they are 0, 1, ... or
        where nobody may ask."""
        problem, layout = self.problem, self.problem.layout
        at_start = not self.pieces.places.rows and isinstance(problem.offset, int)
        if problem.offset is None or (at_start and problem.offset == 0):
            return None
        return one_batch(self.cells.position, layout).squeeze(-1).to(torch.int64).contiguous()

    @once
    def dropout(self) -> Dropout | None:
        dropout, layout, cells = self.problem.dropout, self.problem.layout, self.cells
        if dropout is None:
            return None
        (seed,) = self.pieces.dropout
        states = row_states(seed, cells.batch, cells.head, cells.row + dropout.row).squeeze(-1)
        full = states.expand(*layout.lead, layout.queries)
        full = full.reshape(prod(layout.batch), *full.shape[-3:]).contiguous()
        return Dropout(full, dropout.threshold, 1 / (1 - dropout.probability))


def reason(fixed: Fixed) -> str | None:
    """Why the kernels do not take this matrix, or None."""
    problem, pieces = fixed.problem, fixed.pieces
    score = problem.score
    width = score.product_width(*pieces.query, *pieces.key)
    if has_own_loops(score):
        width = problem.query.shape[-1]
    if width is None:
        return f"its kernels know no {type(score).__name__} score"
    folded = _folded(problem)
    for bias in problem.biases:
        known = isinstance(bias, (TensorBias, DistanceBias, SoftCap))
        if not known and not any(bias is one for one in folded):
            return f"its kernels know no {type(bias).__name__} bias here"
        if isinstance(bias, DistanceBias) and isinstance(problem.offset, Tensor):
            apart = int(problem.offset.max()) - int(problem.offset.min())
            if apart > max(MOST_APART, problem.layout.queries + problem.layout.keys):
                return f"with {type(bias).__name__} its kernels take query offsets less far apart"
    width += sum(bias.rank(problem.layout.keys) for bias in folded)
    if width > WIDEST:
        return f"its kernels take widths up to {WIDEST}"
    if len(problem.biases) > MOST_BIASES:
        return f"its kernels take up to {MOST_BIASES} biases"
    if type(problem.normalizer) not in _NORMALIZERS:
        return f"its kernels know no {type(problem.normalizer).__name__} normalizer"
    if isinstance(problem.normalizer, Entmax):
        (alpha,) = pieces.normalizer or (problem.normalizer.alpha,)
        if bool((alpha > STEEPEST).any() if isinstance(alpha, Tensor) else alpha > STEEPEST):
            return f"its kernels take alpha of Entmax up to {STEEPEST:g}"
    if problem.dropout is not None and problem.dropout.column:
        return "its kernels count the columns of dropout from 0"
    if problem.mask is not None and not problem.mask.stored and fixed.intervals is None:
        return "its kernels take masks that are intervals of keys or given as tensors"
    return None


def _folded(problem: Problem) -> list[ProductBias]:
    """The biases that become a part of queries and keys. Half types would round them."""
    if has_own_loops(problem.score) or problem.query.dtype.itemsize < 4:
        return []
    before = takewhile(lambda bias: not bias.nonlinear, problem.biases)
    return [bias for bias in before if isinstance(bias, ProductBias)]


def operands(fixed: Fixed, pieces: Pieces, value: Tensor | None) -> Operands:
    """The matrix with these tensors in place of its own, and the value that it is to be multiplied
    by, if any."""
    problem = fixed.problem
    layout, wide = problem.layout, accumulation_dtype(problem.query.dtype)
    weight, score = None, problem.score
    if isinstance(score, Gaussian):
        points = (rows.to(wide) for rows in (*pieces.query, *pieces.key))
        query, key = (of_rows_apart(rows, lambda own: own) for rows in points)
        scale = score.factor(wide)
    elif type(score) is not Additive:
        query, key, scale = score.as_product(*pieces.query, *pieces.key, *pieces.score)
    else:
        weight, *bias = (piece.to(wide).contiguous() for piece in pieces.score)
        query, key, scale = pieces.query[0], pieces.key[0], 1.0
        query = query.to(wide) + bias[0] if bias else query
        key = key.to(query.dtype)
    for bias, own in zip(problem.biases, pieces.biases, strict=True):
        if isinstance(bias, ProductBias):
            left, right = bias.factors(fixed.cells, *own)
            query, key, scale = _beside(query * scale, left), _beside(key, right), 1.0
    normalizer, parameter = _normalizer(problem, pieces, layout)
    stages = Stages(
        fixed.intervals,
        fixed.bits,
        tuple(_biases(fixed, pieces)),
        fixed.positions,
        weight,
        normalizer,
        parameter,
        min(problem.normalizer.k, layout.keys) if isinstance(problem.normalizer, TopK) else 0,
        fixed.dropout,
        isinstance(score, Gaussian),
    )
    if value is not None:
        value = one_batch(value.to(query.dtype), layout)
    # For every row of the matrix: results have one, even where all entries share their vectors.
    query = one_batch(query, layout)
    query = query.expand(prod(layout.batch), *layout.lead[-2:], *query.shape[-2:])
    return Operands(query, one_batch(key, layout), value, scale, stages)


def _beside(vectors: Tensor, numbers: Tensor) -> Tensor:
    """Vectors `[..., L, D]` that go on with the numbers `[..., L, n]`."""
    lead = torch.broadcast_shapes(vectors.shape[:-1], numbers.shape[:-1])
    parts = (part.to(vectors.dtype).expand(*lead, part.shape[-1]) for part in (vectors, numbers))
    return torch.cat(list(parts), -1)


def one_batch(tensor: Tensor, layout: Layout, trail: int = 2) -> Tensor:
    """`[batch..., Hk, G, ...]` with the batch in one dimension, of size one where it is shared;
    `trail` dimensions follow the heads."""
    tensor = of_rank(tensor, len(layout.lead) + trail)
    batch = tensor.shape[: len(layout.batch)]
    if any(size != 1 for size in batch):
        tensor = tensor.expand(*layout.batch, *tensor.shape[len(batch) :])
    rest = tensor.shape[len(batch) :]
    return tensor.reshape(prod(tensor.shape[: len(batch)]), *rest)


def _whole(layout: Layout) -> Block:
    return Block.whole(layout.lead, layout.queries, layout.keys)


def _biases(fixed: Fixed, pieces: Pieces) -> Iterator[NativeBias]:
    problem = fixed.problem
    wide = accumulation_dtype(problem.query.dtype)
    for bias, own in zip(problem.biases, pieces.biases, strict=True):
        if not isinstance(bias, ProductBias):
            own = [piece.to(wide) for piece in own]
            yield _bias(bias, own, problem.layout, fixed.positions)


def _bias(bias: Bias, own: list[Tensor], layout: Layout, positions: Tensor | None) -> NativeBias:
    if isinstance(bias, SoftCap):
        return NativeBias.soft_cap(float(bias.limit))
    if isinstance(bias, TensorBias):
        return NativeBias.of_cells(one_batch(own[0], layout))
    assert isinstance(bias, DistanceBias)
    first, last = 0, layout.queries - 1
    if positions is not None:
        first, last = int(positions.min()), int(positions.max())
    nearest = -last
    ahead = torch.arange(nearest, layout.keys - first, device=own[0].device)
    values = one_batch(bias.of(ahead.unsqueeze(0), *own), layout).squeeze(-2)
    return NativeBias.of_distances(values, -nearest)


def _normalizer(problem: Problem, pieces: Pieces, layout: Layout) -> tuple[str, Tensor | None]:
    """Its name, and its parameter as float64 `[batch, Hk, G, 1]`."""
    normalizer = problem.normalizer
    name, given = _NORMALIZERS[type(normalizer)], next(iter(pieces.normalizer), None)
    number = None
    if isinstance(normalizer, Entmax):
        number = normalizer.alpha
        if not isinstance(number, Tensor) and number == 1:
            return "softmax", None
    elif isinstance(normalizer, Sigmoid):
        number = normalizer.bias
    elif isinstance(normalizer, Softmax):
        number = normalizer.sink
    if given is None and number is not None:
        given = problem.query.new_tensor(float(number), dtype=torch.float64)
    if given is None:
        return name, None
    return name, one_batch(given, layout).squeeze(-1).to(torch.float64)
