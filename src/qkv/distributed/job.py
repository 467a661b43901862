"""A matrix and what is asked of it, as one rank knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..blocks.ranges import Range
from ..ground.batches import is_batch
from ..ground.errors import UnsupportedError
from ..ground.tensors import accumulation_dtype, is_concrete, is_tensor
from ..request.description import Description
from ..request.shards import Shards
from .cuts import Cuts, Part
from .exchange import summed

Row = tuple[
    Tensor, ...
]  # query, key, what the measures have of their own, parameters of the stages


def parameters_of(description: Description) -> list[Tensor]:
    """The floating tensors of a matrix's stages."""
    found: list[Tensor] = []
    _each((description.score, description.bias, description.normalizer), found.append)
    return found


@dataclass(frozen=True)
class Job:
    """One request. `needed` tells which keys each rank (first index) needs of each other."""

    description: Description  # of this rank's queries and keys, without the group
    shards: Shards
    cuts: Cuts
    needed: Sequence[Sequence[Range]]

    @property
    def parameters(self) -> list[Tensor]:
        """The floating tensors of the stages."""
        return parameters_of(self.description)

    def with_tensors(self, query: Tensor, parameters: Sequence[Tensor]) -> Description:
        """The same matrix with other tensors in it, as they come from `parameters`."""
        description, following = self.description, iter(parameters)
        stages = (description.score, description.bias, description.normalizer)
        score, bias, normalizer = _each(stages, lambda _: next(following))
        return replace(description, query=query, score=score, bias=bias, normalizer=normalizer)

    def part(self, part: Part, description: Description, key: Tensor) -> Description:
        """A part of such a matrix with the keys of a rank."""
        return self.cuts.of(part, description, key)

    def parts(self, rank: int):
        """This rank's queries with the keys that came of a rank: of itself all."""
        own = self.shards.rank
        return self.cuts.parts(own, rank, 0 if rank == own else self.needed[own][rank][0])


def _each(thing: Any, function: Callable[[Tensor], Any]) -> Any:
    """The same stages with a function applied to every floating tensor; where it gives nothing, the
    tensor stays."""
    if is_tensor(thing):
        if not thing.is_floating_point():
            return thing
        changed = function(thing)
        return thing if changed is None else changed
    if isinstance(thing, tuple):
        return tuple(_each(entry, function) for entry in thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        values = {f.name: getattr(thing, f.name) for f in fields(thing)}
        changed = {name: _each(value, function) for name, value in values.items()}
        moved = {name: value for name, value in changed.items() if value is not values[name]}
        return replace(thing, **moved) if moved else thing
    return thing


class Shared(torch.autograd.Function):
    """Tensors that all ranks have alike: the gradient of each is summed over the ranks."""

    @staticmethod
    def forward(ctx, group: Any, *tensors: Tensor) -> Row:
        ctx.group = group
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        require_first(*gradients)
        wide = [gradient.to(accumulation_dtype(gradient.dtype)) for gradient in gradients]
        totals = [summed(ctx.group, gradient) for gradient in wide]
        return None, *(t.to(g.dtype) for t, g in zip(totals, gradients, strict=True))


def require_first(*gradients: Tensor | None) -> None:
    """Raises UnsupportedError where a backward pass is itself to be differentiated, or is one of
    many at once."""
    if torch.is_grad_enabled():
        raise UnsupportedError(
            "attention: group has first derivatives alone; leave create_graph out"
        )
    given = [gradient for gradient in gradients if gradient is not None]
    if not is_concrete(*given) or any(map(is_batch, given)):
        raise UnsupportedError(
            "attention: group has one backward pass at a time; leave is_grads_batched out"
        )


def gradients_of(
    ends: Sequence[tuple[Tensor, Tensor | None]], leaves: Sequence[Tensor]
) -> list[Tensor]:
    """Those of leaves, given some results and theirs; 0 where nothing reaches a leaf."""
    moving = [(end, seed) for end, seed in ends if seed is not None and end.requires_grad]
    if not moving:
        return [torch.zeros_like(leaf) for leaf in leaves]
    results, seeds = zip(*moving, strict=True)
    return list(
        torch.autograd.grad(results, leaves, seeds, materialize_grads=True, allow_unused=True)
    )


def wide_zeros(tensor: Tensor) -> Tensor:
    """Room for sums of what is shaped as a tensor."""
    wide = accumulation_dtype(tensor.dtype)
    return torch.zeros_like(tensor, dtype=wide, memory_format=torch.contiguous_format)
