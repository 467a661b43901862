"""Pictures of what was captured, as files: one head, all heads, a head over an image.

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
from .layers import Layer, layers_of

_CELLS = 48  # along a side of a small map
Path = str | os.PathLike[str]
Patch = tuple[int, int]  # row and column in the grid


def draw_head(
    source: Any,
    layer: int | str,
    head: int,
    path: Path,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    entry: int = 0,
) -> None:
    """Draws one head as a map with its labels, a coarse one where it is long: see
    `AttentionMatrix.picture`.

    Args:
        source: a capture, calls of it, or attention matrices.
        layer: its number or its name.
        head: its number.
        path: a `.png`, `.svg` or `.pdf` file; it appears when it is complete.
        rows, columns: a label for each query, for each key; None: those of the capture, or their
            positions.
        entry: of the batch.

    Raises:
        IndexError, KeyError: there is no such layer, head or entry.
        ValueError, OSError: as of `AttentionMatrix.picture`.
    """
    found = layer_of(source, layer)
    title = f"{found.name} head {head}"
    matrix = found.head(head, entry)
    queries, keys = found.shown(entry)
    rows, columns = queries if rows is None else rows, keys if columns is None else columns
    matrix.picture(path, rows, columns, title=title)


def draw_heads(source: Any, path: Path, names: Heads | None = None, entry: int = 0) -> None:
    """Draws all heads of all layers as small maps in a grid: a row for each layer, a column for
    each head.

    Args:
        source: a capture, calls of it, or attention matrices.
        path: a `.png`, `.svg` or `.pdf` file; it appears when it is complete.
        names: the table of the same heads: what each does is written below its map.
        entry: of the batch.

    Raises:
        IndexError: there is no such entry.
        ValueError: weights that are negative or not finite, another kind of file.
        OSError: the file cannot be written.
    """
    from ..pictures import check_picture_path, save_picture, thumbnails

    path = check_picture_path(path)
    layers = layers_of("picture", source)
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
    source: Any,
    layer: int | str,
    head: int | None,
    path: Path,
    image: Tensor,
    grid: tuple[int, int],
    query: int | Patch | None = None,
    entry: int = 0,
) -> None:
    """Draws where a head looks over the image whose patches its keys are.

    The last `grid[0] * grid[1]` keys are the patches, row after row. Keys in front of them, such as
    a class token, belong to no place; the title says how much weight they have.

    Args:
        source: a capture, calls of it, or attention matrices.
        layer: its number or its name.
        head: its number; None: the mean over the heads.
        path: a `.png`, `.svg` or `.pdf` file; it appears when it is complete.
        image: `[height, width, 3]` or `[3, height, width]`, values from 0 to 255.
        grid: the rows and columns of patches.
        query: whose weights: the row and column of a patch, which is framed then, or a query's
            number, such as 0 for a class token; None: the mean over all queries.
        entry: of the batch.

    Raises:
        IndexError, KeyError: there is no such layer, head, query or entry.
        ValueError: fewer keys than patches, an image of another shape, another kind of file.
        OSError: the file cannot be written.
    """
    from ..pictures import check_picture_path, overlay, save_picture

    path = check_picture_path(path)
    found = layer_of(source, layer)
    patches = grid[0] * grid[1]
    extra = found.matrix.shape[-1] - patches
    if extra < 0:
        raise ValueError(
            "picture: grid must have no more patches than there are keys, "
            f"{found.matrix.shape[-1]}; got {grid[0]} × {grid[1]}"
        )
    mark: Any = tuple(query) if isinstance(query, (tuple, list)) else None
    place = query if mark is None else found.matrix.shape[-2] - patches + _place(mark, grid)
    weights = _weights(found, head, place, entry)
    title = f"{found.name} {'mean of heads' if head is None else f'head {head}'}, "
    title += "mean of queries" if query is None else f"patch {mark}" if mark else f"query {query}"
    if extra:
        share = float(weights[:extra].sum() / weights.sum().clamp(min=1e-30))
        tokens = "the token" if extra == 1 else f"the {extra} tokens"
        title += f"; {share:.0%} on {tokens} in front of the patches"
    pixels = image if image.shape[0] == 3 else image.permute(2, 0, 1)
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


def layer_of(source: Any, layer: int | str) -> Layer:
    """A layer by its number or its name.

    Raises:
        IndexError, KeyError: there is none.
    """
    layers = layers_of("picture", source)
    if isinstance(layer, str):
        named = {one.name: one for one in layers}
        if layer not in named:
            raise KeyError(f"there is no layer {layer!r}; there are {', '.join(named)}")
        return named[layer]
    if not 0 <= layer < len(layers):
        raise IndexError(f"there are {len(layers)} layers; got {layer}")
    return layers[layer]


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
