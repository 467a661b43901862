"""What stages made of a user's callable have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import WHOLE, Layout
from ..blocks.tiling import Block
from ..ground.tensors import FLOATS, INTEGERS, is_strided, is_tensor, shape_of
from .base import Entries
from .captured import WithOthers, call_with, captured_tensors


@dataclass(frozen=True)
class Custom:
    """A callable and the tensors that it captures; None if nobody has looked for them yet."""

    function: Callable[..., Any]
    captured: tuple[Tensor, ...] | None = None

    what: ClassVar[str] = ""
    says_the_same_anywhere: ClassVar[bool] = False

    def entries(self, layout: Layout) -> Entries:
        """The captured tensors, whole."""
        return [(tensor, WHOLE) for tensor in self.captured or ()]

    def with_captured(self, *arguments: Any) -> Self:
        """The same stage after a probe call has found what it captures."""
        return replace(self, captured=captured_tensors(self.function, arguments, self.what))

    def with_others(self, other: Callable[[Tensor], Tensor]) -> Self:
        """The same stage, whose callable meets `other` of each tensor that is known to be captured.
        It is then looked through anew."""
        if self.captured is None:
            return self
        others = [other(tensor) for tensor in self.captured]
        around = partial(WithOthers, captured=self.captured, others=others, what=self.what)
        return replace(self, function=self.put_around(around), captured=None)

    def put_around(self, around: Callable[[Callable], Callable]) -> Callable[..., Any]:
        """The callable with something around what the user wrote."""
        return around(self.function)

    def ask(self, pieces: tuple[Tensor, ...], tile: tuple[int, ...], *arguments: Any) -> Tensor:
        """What the callable returns, broadcast to the rows and columns of the tile `[..., r, c]`.

        Where it is given a tensor first, its numbers are at least as wide as those: integers and
        bool become numbers of that dtype.

        Raises:
            TypeError: the callable returns no tensor, or one of other than real numbers.
            ValueError: the tensor cannot be broadcast to the tile.
        """
        result = call_with(self.function, arguments, self.captured, pieces, self.what)
        if not is_tensor(result):
            got = type(result).__name__
            raise TypeError(f"attention: {self.what} must return a tensor; got {got}")
        if not is_strided(result):
            got = "a nested one" if result.is_nested else result.layout
            raise TypeError(f"attention: {self.what} must return a strided tensor; got {got}")
        for given in filter(is_tensor, arguments[:1]):
            result = result.to(self._dtype_beside(result.dtype, given.dtype))
        try:
            fits = torch.broadcast_shapes(result.shape, tile) == torch.Size(tile)
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"attention: {self.what} must return a tensor broadcastable to its tile "
                f"{list(tile)}; got {shape_of(result)}"
            )
        return result.expand(*result.shape[:-2], *tile[-2:])

    def _dtype_beside(self, own: torch.dtype, given: torch.dtype) -> torch.dtype:
        """That in which numbers come to stand beside those that were given, which are floats."""
        if own in FLOATS:
            return torch.promote_types(own, given)
        if own in INTEGERS:
            return given
        raise TypeError(
            f"attention: {self.what} must return float16, bfloat16, float32, float64, integers or "
            f"bool; got {own}"
        )


def corner_of(layout: Layout) -> Block:
    """A block of a single cell, for a probe call."""
    return Block(tuple((0, 1) for _ in layout.lead), (0, 1), ((0, 1),))


def tile_shape(cells: Cells) -> tuple[int, ...]:
    """The shape `[B..., H, r, c]` of a tile as callables see it."""
    sizes = [stop - start for start, stop in cells.block.lead]
    lead = (*sizes[:-2], sizes[-2] * sizes[-1]) if cells.layout.has_heads else ()
    return (*lead, cells.row.shape[-2], cells.col.shape[-1])


def head_split(cells: Cells) -> tuple[int, int]:
    """The number of key heads in a tile, and the number of query heads for each of them."""
    key_heads, group = (stop - start for start, stop in cells.block.lead[-2:])
    return key_heads, group
