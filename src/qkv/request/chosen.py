"""Chosen entries of the leading dimensions: what keeps `A[b, h]` lazy.

The tensors of the stages are put in canonical form for the whole matrix, then the chosen entries
are taken of each, and the true batch and head of every entry go along as two more tensors, so that
masks, callables and dropout answer as they would for the whole matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import PER_BATCH, Layout
from ..blocks.tiling import Axes, Block
from ..ground.tensors import of_rank
from ..stage.base import Entries


@dataclass(frozen=True)
class Entry:
    """What was chosen of one leading dimension; `single` ones are left out of the shape."""

    index: Tensor  # [n], not negative
    single: bool


Chosen = tuple[Entry | None, ...]  # over all leading dimensions; None: everything


def then(first: Chosen, second: Chosen) -> Chosen:
    """What is chosen when the dimensions that `first` keeps are indexed by `second`."""
    remaining = iter(second)
    combined: list[Entry | None] = []
    for entry in first:
        later = None if entry is not None and entry.single else next(remaining)
        if entry is None or later is None:
            combined.append(entry or later)
        else:
            combined.append(Entry(entry.index[later.index], later.single))
    return tuple(combined)


def kept(sizes: tuple[int, ...], chosen: Chosen) -> tuple[int, ...]:
    """The sizes of the leading dimensions as the user sees them."""
    pairs = zip(sizes, chosen, strict=True)
    return tuple(
        size if entry is None else entry.index.numel()
        for size, entry in pairs
        if entry is None or not entry.single
    )


def layout_of_chosen(whole: Layout, chosen: Chosen) -> Layout:
    """The sizes of the chosen part. Heads that were chosen are no longer grouped."""
    *batch, heads = chosen
    sizes = (s if e is None else e.index.numel() for s, e in zip(whole.batch, batch, strict=True))
    places = enumerate(reversed(chosen), start=1)
    layout = replace(
        whole,
        batch=tuple(sizes),
        single=tuple(place for place, entry in places if entry is not None and entry.single),
    )
    if heads is None:
        return layout
    return replace(layout, key_heads=heads.index.numel(), group=1)


def chosen_of(tensor: Tensor, axes: Axes | None, whole: Layout, chosen: Chosen) -> Tensor:
    """The chosen entries of a tensor in the canonical form of the whole matrix."""
    if axes is None:
        return tensor
    *batch, heads = chosen
    for dim, entry in enumerate(batch):
        if entry is not None and tensor.shape[dim] != 1:
            tensor = tensor.index_select(dim, entry.index)
    dim = len(batch)
    key_heads, group = tensor.shape[dim : dim + 2]
    if heads is None or (key_heads, group) == (1, 1):
        return tensor
    head = heads.index
    first = head // whole.group if key_heads > 1 else torch.zeros_like(head)
    second = head % whole.group if group > 1 else torch.zeros_like(head)
    place = first * group + second
    return tensor.flatten(dim, dim + 1).index_select(dim, place).unsqueeze(dim + 1)


def places_of_chosen(
    whole: Layout, chosen: Chosen, device: torch.device
) -> tuple[Entries, Entries]:
    """The true batch and head of every chosen entry, as parts of a problem."""
    block = Block(tuple((0, size) for size in whole.lead), (0, 0), ((0, 0),))
    cells = Cells(whole, block, device)
    true = cells.batch, of_rank(cells.head, len(whole.lead) + 2)
    batch, head = (chosen_of(index, PER_BATCH, whole, chosen) for index in true)
    return [(batch, PER_BATCH)], [(head, PER_BATCH)]
