"""A `score_mod` and a `mask_mod` as stages of the engine.

A mod is written for one cell: torch calls it with numbers that have no dimensions, mapped over all
cells by `torch.vmap`. So it is here, and every mod that torch runs means the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...biases.custom import CustomBias
from ...blocks.layout import Layout
from ...ground.tensors import accumulation_dtype
from ...masks.custom import CustomMask
from ...stage.captured import captured_tensors

Mod = Callable[..., Tensor]


class Indexing(TorchFunctionMode):
    """Lets `table[head, query]` mean a lookup. Torch would read the numbers of an index without
    dimensions, and where they are mapped or traced there are none."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__getitem__:
            table, index = args
            index = index if isinstance(index, tuple) else (index,)
            if all(map(_is_index, index)) and any(isinstance(part, Tensor) for part in index):
                places = [_place(part, table.device) for part in index]
                return torch.ops.aten.index.Tensor(table, places)
        return func(*args, **(kwargs or {}))


def _is_index(part: object) -> bool:
    return isinstance(part, (Tensor, int)) and not isinstance(part, bool)


def _place(part: Tensor | int, device: torch.device) -> Tensor:
    return part if isinstance(part, Tensor) else torch.tensor(part, device=device)


@dataclass(frozen=True)
class OverCells:
    """A mod as a callable of the engine: `fn(cells)`, or `fn(scores, cells)`. `what` is how errors
    call it, behind the function that it was given to."""

    mod: Mod
    what: str

    def __call__(self, *arguments: Any) -> Tensor:
        *scores, cells = arguments
        places = (cells.batch, cells.head, cells.row, cells.col)
        answer = mapped(self.of_cell, len(scores))(*scores, *(place.flatten() for place in places))
        real = scores and not answer.is_complex()  # what is not is refused by name
        return answer.to(scores[0].dtype) if real else answer

    def of_cell(self, *numbers: Tensor) -> Tensor:
        """What the mod says of one cell."""
        if torch.compiler.is_compiling():  # whoever is compiled stands in this mode already
            answer = self.mod(*numbers)
        else:
            with Indexing():
                answer = self.mod(*numbers)
        if not isinstance(answer, Tensor):
            raise TypeError(f"{self.what} must return a tensor; got {type(answer).__name__}")
        return answer


def mapped(function: Callable[..., Any], scores: int) -> Callable[..., Any]:
    """A function of a cell's (score,) batch, head, query and key as one of (scores `[B, H, r, c]`,)
    and four vectors."""
    for place in (3, 2, 1, 0):
        vectors = tuple(0 if place == own else None for own in range(4))
        function = torch.vmap(function, in_dims=(*(0,) * scores, *vectors))
    return function


def first_cell(device: torch.device) -> tuple[Tensor, ...]:
    """Batch, head, query and key of the first cell, for a probe call."""
    return tuple(torch.zeros((), dtype=torch.int64, device=device) for _ in range(4))


@dataclass(frozen=True)
class ScoreMod(CustomBias):
    """A `score_mod(score, batch, head, query, key)`."""

    function: OverCells

    what = "score_mod"

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> ScoreMod:
        score = query.new_zeros((), dtype=accumulation_dtype(query.dtype))
        numbers = (score, *first_cell(query.device))
        return replace(self, captured=captured_tensors(self.function.of_cell, numbers, self.what))

    def put_around(self, around: Callable[[Mod], Mod]) -> OverCells:
        return replace(self.function, mod=around(self.function.mod))


@dataclass(frozen=True)
class MaskMod(CustomMask):
    """A `mask_mod(batch, head, query, key)`."""

    function: OverCells

    what = "mask_mod"

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> MaskMod:
        numbers = first_cell(query.device)
        return replace(self, captured=captured_tensors(self.function.of_cell, numbers, self.what))

    def put_around(self, around: Callable[[Mod], Mod]) -> OverCells:
        return replace(self.function, mod=around(self.function.mod))
