"""What the page is told of the places of a layer: their labels, those that soak up attention, and
pictures whose patches they are."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from qkv._extras import needed

from ..capture.images import ImageLabels
from ..capture.labelling import Labelled
from ..capture.labels import Labels
from ..capture.layers import Layer
from ..capture.separators import SEPARATORS
from ..matrix.sight import seen

SIDES = ("queries", "keys")


def named(layer: Layer, entry: int) -> dict[str, Any]:
    """For queries and keys of one entry: what they are called; which of them are `apart`, the first
    in sight and those that separate; which are `joined` to the one before, as pieces of a word are;
    and how a picture is cut into them."""
    labels = layer.labels(entry)
    first = _first_seen(layer, entry)
    return {
        **dict(zip(SIDES, layer.shown(entry), strict=True)),
        "apart": dict(zip(SIDES, map(_apart, labels, first), strict=True)),
        "joined": dict(zip(SIDES, map(_joined, labels), strict=True)),
        "pictures": dict(zip(SIDES, map(_cut, labels), strict=True)),
    }


def picture(layer: Layer, entry: int) -> bytes:
    """The picture whose patches the keys are, or else the queries, as a PNG file; empty where both
    are something else."""
    pictures = [one.image for one in layer.labels(entry) if isinstance(one, ImageLabels)]
    if not pictures:
        return b""
    height, width, _ = pictures[-1].shape
    data, file = pictures[-1].contiguous().numpy().tobytes(), BytesIO()
    needed("PIL.Image").frombytes("RGB", (width, height), data).save(file, format="PNG")
    return file.getvalue()


def _first_seen(layer: Layer, entry: int) -> tuple[int, int]:
    """The first query that sees a key, and the first key that a query sees, of any head."""
    matrix = layer.entry(entry).detach()
    counts, keys = seen(matrix, torch.ones(1, matrix.shape[-1], 1, device=matrix.device))
    return _first(counts[..., 0] > 0), _first(keys)


def _first(which: Tensor) -> int:
    return int(which.flatten(0, -2).any(0).int().argmax())


def _apart(labels: Labelled | None, first: int) -> list[int]:
    tokens = () if labels is None else labels.tokens
    separating = {place for place, token in enumerate(tokens) if token in SEPARATORS}
    return sorted(separating | {first})


def _joined(labels: Labelled | None) -> list[int]:
    """Which tokens follow the one before in the text, without a space between the two."""
    if not isinstance(labels, Labels) or labels.spans is None or labels.text is None:
        return []
    text, ends = labels.text, enumerate(pairwise(labels.spans), 1)
    return [
        place
        for place, ((before, last), (start, stop)) in ends
        if before < last == start < stop and not any(map(str.isspace, text[start - 1 : start + 1]))
    ]


def _cut(labels: Labelled | None) -> dict[str, Any] | None:
    """Rows and columns of patches, and how many places stand in front of them."""
    if not isinstance(labels, ImageLabels):
        return None
    return {"rows": labels.grid[0], "columns": labels.grid[1], "before": len(labels.extra)}
