"""Pictures of layers, as files: one head, all heads, a head over an image.

Drawing belongs to `qkv.pictures`, which needs matplotlib. It is imported when a picture is asked
for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .heads import Heads
from .images import ImageLabels
from .layers import Layer

_CELLS = 48  # along a side of a small map
Path = str | os.PathLike[str]
Patch = tuple[int, int]  # row and column in the grid


def draw_head(layer: Layer, head: int, path: Path, entry: int) -> None:
    """One head as a map with its labels, a coarse one where it is long."""
    matrix = layer.head(head, entry)
    matrix.picture(path, *layer.shown(entry), title=f"{layer.name} head {head}")


def draw_heads(layers: Sequence[Layer], path: Path, names: Heads | None, entry: int) -> None:
    """All heads as small maps in a grid, with their names: a row for each layer."""
    from ..pictures import check_picture_path, save_picture, thumbnails

    path = check_picture_path(path)
    rows = {layer.name: row for row, layer in enumerate(layers)}
    maps = {
        (row, head): weights
        for row, layer in enumerate(layers)
        for head, weights in enumerate(_pooled(layer, entry))
    }
    captions = {(rows[head.layer], head.number): _short(head.role) for head in names or ()}
    columns = [str(head) for head in range(max(layer.heads for layer in layers))]
    save_picture(thumbnails(maps, list(rows), columns, captions=captions), path)


def draw_over_image(
    layer: Layer,
    head: int | None,
    path: Path,
    labels: ImageLabels,
    query: int | Patch | None,
    entry: int,
) -> None:
    """Where a head looks, over the image whose patches its last keys are. Keys in front of them,
    such as a class token, belong to no place; the title says how much weight they have."""
    from ..pictures import check_picture_path, overlay, save_picture

    path, grid = check_picture_path(path), labels.grid
    patches = grid[0] * grid[1]
    extra = layer.matrix.shape[-1] - patches
    mark: Any = tuple(query) if isinstance(query, (tuple, list)) else None
    place = query if mark is None else layer.matrix.shape[-2] - patches + _place(mark, grid)
    weights = _weights(layer, head, place, entry)
    title = f"{layer.name} {'mean of heads' if head is None else f'head {head}'}, "
    title += "mean of queries" if query is None else f"patch {mark}" if mark else f"query {query}"
    if extra:
        share = float(weights[:extra].sum() / weights.sum().clamp(min=1e-30))
        tokens = "the token" if extra == 1 else f"the {extra} tokens"
        title += f"; {share:.0%} on {tokens} in front of the patches"
    pixels = labels.image.permute(2, 0, 1)
    figure = overlay(pixels, weights[extra:].view(grid), title=title, mark=mark)
    save_picture(figure, path)


def _short(role: str) -> str:
    """A mixture in few letters."""
    if " + " not in role:
        return role
    return role.replace("-token sink", "").replace(" token", "")


def _place(patch: Any, grid: tuple[int, int]) -> int:
    """The number of a patch."""
    if len(patch) != 2 or not all(0 <= at < size for at, size in zip(patch, grid, strict=True)):
        raise IndexError(f"picture: query must be a patch of {grid[0]} × {grid[1]}; got {patch}")
    return patch[0] * grid[1] + patch[1]


def _pooled(layer: Layer, entry: int) -> Tensor:
    """Small maps of all heads of one entry, `[H, h, w]`."""
    with torch.no_grad():
        matrix = layer.entry(entry).detach()
        rows, columns = (min(_CELLS, size) for size in matrix.shape[-2:])
        maps = matrix.pool(rows, columns)
    return maps.reshape(layer.heads, rows, columns).float().cpu()


def _weights(layer: Layer, head: int | None, query: Any, entry: int) -> Tensor:
    """The weight of each key, `[Lk]`."""
    with torch.no_grad():
        matrix = layer.entry(entry) if head is None else layer.head(head, entry)
        matrix = matrix.detach()
        weights = matrix.mass() / matrix.shape[-2] if query is None else matrix[..., query, :]
        return weights.reshape(-1, matrix.shape[-1]).float().mean(0).cpu()
