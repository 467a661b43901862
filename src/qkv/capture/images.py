"""Patches of an image as labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..ground.tensors import integer, shape_of
from ..pictures.opened import opened_picture
from .groups import Groups


@dataclass(frozen=True, eq=False)
class ImageLabels:
    """The patches of one image, row after row, behind tokens that stand for no patch.

    `image` is `[height, width, 3]` of uint8, `grid` how many rows and columns of patches it was cut
    into, `extra` the names of the tokens in front: class token, registers.
    """

    image: Tensor
    grid: tuple[int, int]
    extra: tuple[str, ...] = ()

    spare: ClassVar[int] = 0

    def __len__(self) -> int:
        return len(self.extra) + self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The names in front, then `row,column` of each patch, counted from 0."""
        rows, columns = self.grid
        return (*self.extra, *(f"{r},{c}" for r in range(rows) for c in range(columns)))

    @property
    def shown(self) -> list[str]:
        """The same."""
        return list(self.tokens)

    def first(self, count: int) -> ImageLabels:
        """The labels of the first places, which are all."""
        return self

    def alone(self) -> Groups:
        """Each place by itself."""
        return Groups.alone(self.tokens)

    def words(self, spans: Any = None) -> Groups:
        """Each place by itself: an image has no words."""
        return self.alone()


def image_labels(
    image: Any, grid: Any, extra: Sequence[str] | None, lengths: set[int]
) -> ImageLabels:
    """See `Capture.label_image`; `lengths` are those of the calls' queries and keys."""
    rows, columns = _grid(grid)
    pixels = _pixels(image)
    if extra is None:
        patches = rows * columns
        behind = min((n - patches for n in lengths if n >= patches), default=0)
        extra = () if not behind else ("[CLS]", *(f"[REG{i}]" for i in range(1, behind)))
    return ImageLabels(pixels, (rows, columns), tuple(extra))


def _grid(grid: Any) -> tuple[int, int]:
    sizes = tuple(grid) if isinstance(grid, (tuple, list)) else (grid, grid)
    counts = [integer(size) for size in sizes]
    if len(counts) != 2 or any(count is None or count < 1 for count in counts):
        raise ValueError(f"label_image: grid must be rows and columns of patches; got {grid!r}")
    rows, columns = counts
    assert rows is not None
    assert columns is not None
    return rows, columns


def _pixels(image: Any) -> Tensor:
    """A picture file, a picture of Pillow, an array or a tensor as `[height, width, 3]` bytes."""
    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        with opened_picture(path, f"label_image: {path}") as opened:
            return _pixels(opened.convert("RGB"))
    if hasattr(image, "convert") and hasattr(image, "tobytes"):
        image = image.convert("RGB")
        data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        return data.view(image.height, image.width, 3)
    try:
        pixels = torch.as_tensor(image).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            "label_image: image must be a file, a picture of Pillow, an array or a tensor; "
            f"got {type(image).__name__}"
        ) from None
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = pixels.permute(1, 2, 0)
    if pixels.ndim == 2:
        pixels = pixels.unsqueeze(-1)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.numel():
        raise ValueError(
            "label_image: image must be [height, width, 3] or [3, height, width]; "
            f"got {shape_of(pixels)}"
        )
    if pixels.is_floating_point():
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):
            raise ValueError(
                "label_image: floating colours must lie in 0 ... 1; got values from "
                f"{float(pixels.min()):.3g} to {float(pixels.max()):.3g}: give the picture as it "
                "was before it was normalised"
            )
        pixels = (pixels * 255).round()
    elif pixels.dtype is not torch.uint8:
        raise TypeError(f"label_image: colours must be uint8 or floating; got {pixels.dtype}")
    return pixels.to(torch.uint8).expand(*pixels.shape[:2], 3).contiguous()
