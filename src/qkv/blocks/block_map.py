"""A map over blocks of the attention matrix, closed under differentiation and batching.

A `BlockMap` cuts its input tensors into blocks of (leading dimensions, queries, keys), applies one
function to each block and adds the results into its outputs. Nothing larger than a block is ever
alive. Its vector-Jacobian product, Jacobian-vector product and `vmap` are again block maps over the
same blocks, so every derivative of every order has the same memory: blocks are recomputed, never
stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from ..ground.autocast import autocast_off
from ..ground.batches import over_batches
from ..ground.errors import UnsupportedError
from ..ground.tensors import (
    accumulation_dtype,
    inside_transform,
    is_concrete,
    is_dual,
    is_jit_traced,
    is_traced,
)
from .ranges import Ranges
from .tiling import Axes, Block, Tiling

# How much more room a block needs when it is also differentiated.
_DERIVATIVE_COST = 3


@dataclass(frozen=True)
class Output:
    """One output of a block map: what is cut, its full shape and its dtype. What blocks give is
    added, or with `largest` the largest is kept."""

    axes: Axes | None
    shape: tuple[int, ...]
    dtype: torch.dtype
    largest: bool = False

    @property
    def differentiable(self) -> bool:
        return self.dtype.is_floating_point and not self.largest

    def total(self, device: torch.device) -> Tensor:
        """What blocks are put into."""
        start = -torch.inf if self.largest else 0
        dtype = accumulation_dtype(self.dtype)
        axes = self.axes
        few = axes is None or axes.shares is not None or (axes.row is None and axes.col is None)
        if few and dtype is torch.float32 and device.type != "mps":
            dtype = torch.float64  # few numbers, and each is a sum over all blocks
        return torch.full(self.shape, start, dtype=dtype, device=device)

    def put(self, total: Tensor, block: Block, result: Tensor) -> None:
        """Puts the result of one block into the total."""
        for piece, value in block.pieces(result, self.axes):
            part = piece.take(total, self.axes)
            if self.largest:
                part.copy_(torch.maximum(part, value))
            else:
                part.add_(value)


BlockFunction = Callable[..., tuple[Tensor, ...]]
Seen = Callable[[Block], Ranges]  # the keys that a block sees


@dataclass(frozen=True)
class BlockMap:
    """`function(block, *pieces) -> pieces` over all blocks of a tiling. Results may be smaller than
    their places in the outputs by dimensions of size one. `seen`, given the inputs, says what its
    blocks see.

    Autograd keeps it as long as the graph, so it holds none of its inputs.
    """

    function: BlockFunction
    inputs: tuple[Axes | None, ...]
    outputs: tuple[Output, ...]
    tiling: Tiling
    seen: Callable[[tuple[Tensor, ...]], Seen] | None = None

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Differentiable to any order, in forward mode too, and under `vmap`.

        While `torch.compile` traces, the blocks are checkpointed instead: the compiler then
        recomputes them in its own backward. `torch.jit.trace` sees every block's operations.
        `torch.func.linearize` keeps all that it records, and loses what is added in its place:
        it is given one block.
        """
        if torch.compiler.is_compiling():
            if inside_transform():
                raise UnsupportedError(
                    "attention: a torch.func transform of a matrix that is cut into blocks cannot "
                    "be traced by torch.compile; transform outside of the compiled function"
                )
            # `torch.export` drops checkpoints, or, where it is strict, makes no program of them.
            return self.run(tensors, checkpointed=not torch.compiler.is_exporting())
        if is_jit_traced():
            return self.run(tensors)
        if is_traced() and is_dual(*tensors):
            return self.in_one(*tensors)
        return _Differentiable.apply(self, *tensors)

    def run(self, tensors: tuple[Tensor, ...], checkpointed: bool = False) -> tuple[Tensor, ...]:
        device = tensors[0].device
        totals = [out.total(device) for out in self.outputs]
        tiling = self.tiling
        if self.seen is not None:
            tiling = replace(tiling, seen=self.seen(tensors))
        for block in tiling:
            pieces = [block.take(t, axes) for t, axes in zip(tensors, self.inputs, strict=True)]
            if checkpointed:
                results = checkpoint(self.function, block, *pieces, use_reentrant=False)
            else:
                results = self.function(block, *pieces)
            for total, out, result in zip(totals, self.outputs, results, strict=True):
                out.put(total, block, result)
        return tuple(total.to(out.dtype) for total, out in zip(totals, self.outputs, strict=True))

    def in_one(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """One block over everything by torch operations, which autograd differentiates."""
        results = self.function(self.tiling.whole, *tensors)
        pairs = zip(results, self.outputs, strict=True)
        return tuple(result.to(out.dtype).expand(out.shape) for result, out in pairs)

    def pullback(
        self, tensors: tuple[Tensor, ...], wanted: list[int], seeded: list[int]
    ) -> BlockMap:
        """The map from inputs and the gradients of outputs `seeded` to those of inputs `wanted`."""
        count = len(self.inputs)

        def function(block: Block, *pieces: Tensor) -> tuple[Tensor, ...]:
            primal = self._restricted(block, pieces[:count], wanted, seeded)
            points = tuple(_accumulated(pieces[i]) for i in wanted)
            return _pulled(primal, points, pieces[count:])

        return BlockMap(
            function,
            (*self.inputs, *(self.outputs[o].axes for o in seeded)),
            tuple(Output(self.inputs[i], tensors[i].shape, tensors[i].dtype) for i in wanted),
            self.tiling.smaller(_DERIVATIVE_COST),
            self.seen,
        )

    def pushforward(self, moved: list[int], followed: list[int]) -> BlockMap:
        """The map from inputs and tangents of inputs `moved` to tangents of outputs `followed`."""
        count = len(self.inputs)

        def function(block: Block, *pieces: Tensor) -> tuple[Tensor, ...]:
            primal = self._restricted(block, pieces[:count], moved, followed)
            points = tuple(_accumulated(pieces[i]) for i in moved)
            tangents = zip(pieces[count:], points, strict=True)
            tangents = tuple(tangent.to(point.dtype) for tangent, point in tangents)
            return _pushed(primal, points, tangents)

        return BlockMap(
            function,
            (*self.inputs, *(self.inputs[i] for i in moved)),
            tuple(self.outputs[o] for o in followed),
            self.tiling.smaller(_DERIVATIVE_COST),
            self.seen,
        )

    def batched(self, dims: tuple[int | None, ...], size: int) -> BlockMap:
        """The map with one more leading dimension on the inputs whose entry in `dims` is 0."""

        def function(block: Block, *pieces: Tensor) -> tuple[Tensor, ...]:
            return torch.vmap(lambda *inner: self.function(block, *inner), in_dims=dims)(*pieces)

        outputs = tuple(replace(out, shape=(size, *out.shape)) for out in self.outputs)
        return BlockMap(function, self.inputs, outputs, self.tiling.smaller(size), self.seen)

    def _restricted(
        self, block: Block, pieces: tuple[Tensor, ...], active: list[int], kept: list[int]
    ) -> BlockFunction:
        """The function of the active pieces alone, with the kept outputs alone."""

        def primal(*points: Tensor) -> tuple[Tensor, ...]:
            full = list(pieces)
            for index, point in zip(active, points, strict=True):
                full[index] = point
            results = self.function(block, *full)
            return tuple(results[o] for o in kept)

        return primal


class _Differentiable(torch.autograd.Function):
    """Runs a block map; its derivatives are block maps run the same way."""

    @staticmethod
    def forward(blocks: BlockMap, *tensors: Tensor) -> tuple[Tensor, ...]:
        return blocks.run(tuple(tensor.detach() for tensor in tensors))

    @staticmethod
    def setup_context(ctx, inputs, output):
        blocks, *tensors = inputs
        ctx.blocks = blocks
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        whole = zip(output, blocks.outputs, strict=True)
        ctx.mark_non_differentiable(*(t for t, out in whole if not out.differentiable))

    @staticmethod
    @over_batches
    def backward(ctx, *gradients: Tensor | None):
        tensors, blocks = ctx.saved_tensors, ctx.blocks
        wanted = [i for i in range(len(tensors)) if ctx.needs_input_grad[i + 1]]
        seeded = [
            o
            for o, gradient in enumerate(gradients)
            if gradient is not None and blocks.outputs[o].differentiable
        ]
        result: list[Tensor | None] = [None] * len(tensors)
        if wanted and seeded:
            seeds = (gradients[o] for o in seeded)
            with autocast_off(tensors[0].device):
                pulled = blocks.pullback(tensors, wanted, seeded)(*tensors, *seeds)
            for index, gradient in zip(wanted, pulled, strict=True):
                result[index] = gradient
        return None, *result

    @staticmethod
    @over_batches
    def jvp(ctx, _, *tangents: Tensor | None):
        tensors, blocks = ctx.saved_tensors, ctx.blocks
        moved = [i for i, tangent in enumerate(tangents) if tangent is not None]
        followed = [o for o, out in enumerate(blocks.outputs) if out.differentiable]
        result: list[Tensor | None] = [None] * len(blocks.outputs)
        if not followed:
            return tuple(result)
        with autocast_off(tensors[0].device):
            pushed = blocks.pushforward(moved, followed)(*tensors, *(tangents[i] for i in moved))
        for index, tangent in zip(followed, pushed, strict=True):
            result[index] = tangent
        return tuple(result)

    @staticmethod
    def vmap(info, in_dims, blocks: BlockMap, *tensors: Tensor):
        dims = tuple(None if dim is None else 0 for dim in in_dims[1:])
        moved = (
            t if dim is None else t.movedim(dim, 0)
            for t, dim in zip(tensors, in_dims[1:], strict=True)
        )
        outputs = _Differentiable.apply(blocks.batched(dims, info.batch_size), *moved)
        return outputs, (0,) * len(outputs)


def _pulled(
    primal: BlockFunction, points: tuple[Tensor, ...], seeds: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The vector-Jacobian product of a function of one block."""

    # What a block gives may be broadcast into its place in the output.
    def fitted(results: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pairs = zip(seeds, results, strict=True)
        return tuple(seed.sum_to_size(r.shape).to(r.dtype) for seed, r in pairs)

    tensors = (*points, *seeds)
    if not is_concrete(*tensors) or any(tensor.requires_grad for tensor in tensors):
        results, pull = torch.func.vjp(primal, *points)[:2]
        return pull(fitted(results))
    # Nothing is derived of this again, so autograd itself serves. It takes what torch.func does
    # not: an autograd Function of a user's that has no `setup_context`.
    with torch.enable_grad():
        leaves = tuple(point.detach().requires_grad_() for point in points)
        results = primal(*leaves)
    moving = [(r, s) for r, s in zip(results, fitted(results), strict=True) if r.requires_grad]
    if not moving:
        return tuple(torch.zeros_like(point) for point in points)
    ends, starts = zip(*moving, strict=True)
    return torch.autograd.grad(ends, leaves, starts, materialize_grads=True)


def _pushed(
    primal: BlockFunction, points: tuple[Tensor, ...], tangents: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The Jacobian-vector product of a function of one block."""
    pushing = any(i.key() == TransformType.Jvp for i in get_interpreter_stack() or ())
    if forward_ad._current_level < 0 or pushing:
        return torch.func.jvp(primal, points, tangents)[1]
    # Inside `forward_ad.dual_level`, another thread's too, torch refuses a second level. The
    # vector-Jacobian product is linear in its seeds, and the transpose of a linear map's transpose
    # is the map itself.
    results, pull = torch.func.vjp(primal, *points)[:2]
    seeds = tuple(torch.zeros_like(result) for result in results)
    return torch.func.vjp(pull, seeds)[1](tangents)[0]


def _accumulated(tensor: Tensor) -> Tensor:
    return tensor.to(accumulation_dtype(tensor.dtype))
