"""The heads of a layer as a table has them: of all queries, or of some where there are many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..capture.head_table import told
from ..capture.heads import heads_of_layer
from ..capture.layers import Layer
from ..ground.errors import UnsupportedError
from .overview import chosen_rows

MOST_CELLS = 2**28  # weights that are looked at, of all heads and entries together
FEWEST = 64  # queries


def measured(layer: Layer) -> dict[str, Any]:
    """The heads of all entries of a layer, and how many queries one that was looked at stands for;
    or why there are none."""
    queries = layer.matrix.shape[-2]
    others = layer.matrix.shape.numel() // max(1, queries)
    count = min(queries, max(FEWEST, MOST_CELLS // max(1, others)))
    places = torch.arange(count, device="cpu") * queries // max(1, count)
    own = layer
    if count < queries:
        own = replace(layer, matrix=chosen_rows(layer.matrix, places))
    try:
        _, heads = heads_of_layer(own, layer.tokens())
    except (UnsupportedError, ValueError) as error:
        return {"heads": [], "every": 1, "missing": str(error)}
    found = []
    for head in heads:
        link = replace(head.link, query=int(places[head.link.query]))
        found.append(told(replace(head, link=link)))
    return {"heads": found, "every": round(queries / max(1, count), 1), "missing": None}
