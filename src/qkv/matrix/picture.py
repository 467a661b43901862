"""A picture file of an attention matrix: which entry of it, how coarse, and with which labels.

Drawing belongs to `qkv.pictures`, which knows nothing of matrices and needs more than torch. It is
imported when a picture is asked for, and only here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from .at import entry_of

if TYPE_CHECKING:
    from .matrix import AttentionMatrix

_MOST_ROWS, _MOST_COLUMNS = 150, 80  # that are drawn one by one
_COARSE = 80  # rows and columns of the map of a larger matrix
_POSITIONS = 16  # of so many along a side the number is written


def draw(
    matrix: AttentionMatrix,
    path: str | os.PathLike[str],
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
    at: tuple[int, ...] | None,
    title: str,
) -> None:
    """See `AttentionMatrix.picture`."""
    from qkv.pictures import check_picture_path, heatmap, save_picture

    path = check_picture_path(path)
    queries, keys = matrix.shape[-2:]
    for name, labels, count in (("rows", rows, queries), ("columns", columns, keys)):
        if labels is not None and len(labels) != count:
            raise ValueError(
                f"picture: {name} must hold a label for each of {count:,}; got {len(labels):,}"
            )
    one, notes = _entry(matrix, at)
    down = queries if queries <= _MOST_ROWS else _COARSE
    across = keys if keys <= _MOST_COLUMNS else _COARSE
    with torch.no_grad():
        if (down, across) == (queries, keys):
            weights = one.dense()
        else:
            weights = one.pool(down, across)
            size = f"{-(-queries // down)} × {-(-keys // across)}"
            notes.append(f"each cell: the largest of up to {size} weights, its first label")
    if not bool((weights >= 0).all()):
        raise ValueError(
            "picture: weights must be finite and not negative to be drawn as shares; those of the "
            f"normalizer {matrix.normalizer.name} are not"
        )
    figure = heatmap(
        weights.float().cpu(),
        _labels(rows, queries, down),
        _labels(columns, keys, across),
        title=title,
        note="; ".join(notes),
        top=None,
    )
    save_picture(figure, path)


def _entry(
    matrix: AttentionMatrix, at: tuple[int, ...] | None
) -> tuple[AttentionMatrix, list[str]]:
    """One `[Lq, Lk]` of the leading dimensions, and what to say of the choice."""
    *lead, _, _ = matrix.shape
    where = entry_of("picture", at, matrix.shape)
    if not lead:
        return matrix.detach(), []
    one = matrix.detach()[where]
    return one, [] if set(lead) == {1} else [f"entry {list(where)} of {lead}"]


def _labels(given: Sequence[str] | None, count: int, drawn: int) -> list[str]:
    """A label for each row or column that is drawn: of those that it stands for, the first; the
    positions of some where no labels are given."""
    firsts = [-(-place * count // drawn) for place in range(drawn)]
    if given is not None:
        return [str(given[first]) for first in firsts]
    every = -(-drawn // _POSITIONS)
    return [str(first) if place % every == 0 else "" for place, first in enumerate(firsts)]
