"""A coarse map: places taken together, such as the pieces of a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import prod

import torch
from torch import Tensor

from ..ground.tensors import accumulation_dtype
from ..matrix.matrix import AttentionMatrix

_MOST_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class Groups:
    """Which places of a sequence belong together: entry by entry a place, its group, and how much
    of the place belongs to it. The shares of a place sum to 1."""

    labels: tuple[str, ...]
    place: Tensor
    group: Tensor
    share: Tensor

    @staticmethod
    def alone(labels: Sequence[str]) -> Groups:
        """Each place by itself."""
        every = torch.arange(len(labels), device="cpu")
        return Groups(tuple(labels), every, every, torch.ones(len(labels), device="cpu"))

    @staticmethod
    def of(
        shares: Sequence[Sequence[tuple[int, float]]], own: Sequence[str], names: Sequence[str]
    ) -> Groups:
        """Groups in the order in which places come to them.

        Args:
            shares: of each place, the groups that it belongs to, with its share in each; one that
                belongs to none becomes a group of its own.
            own: what such a place is called.
            names: what the groups are called.
        """
        numbers: dict[int, int] = {}
        labels, entries = [], []
        for place, belongs in enumerate(shares):
            if not belongs:
                entries.append((place, len(labels), 1.0))
                labels.append(own[place])
            for name, share in belongs:
                if name not in numbers:
                    numbers[name] = len(labels)
                    labels.append(names[name])
                entries.append((place, numbers[name], share))
        columns = zip(*entries, strict=True) if entries else ((), (), ())
        place, group, share = columns
        whole = torch.int64
        return Groups(
            tuple(labels),
            torch.tensor(place, dtype=whole, device="cpu"),
            torch.tensor(group, dtype=whole, device="cpu"),
            torch.tensor(share, dtype=torch.float64, device="cpu"),
        )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class GroupedMap:
    """A coarse map: `weights` `[..., query groups, key groups]`, and what the groups are called."""

    weights: Tensor
    queries: tuple[str, ...]
    keys: tuple[str, ...]

    def _repr_html_(self) -> str:
        from ..pictures import map_html

        mean = self.weights.reshape(-1, *self.weights.shape[-2:]).float().mean(0)
        if not bool((mean >= 0).all()):  # no shares, so there is no colour for them
            return f"<code>{escape(repr(self))}</code>"
        several = prod(self.weights.shape[:-2])
        note = f"<small>the mean of {several} maps</small>" if several > 1 else ""
        return map_html(mean, self.queries, self.keys, top=None) + note


def grouped(
    matrix: AttentionMatrix, queries: Groups, keys: Groups, max_bytes: int = _MOST_BYTES
) -> Tensor:
    """The weights between groups, `[..., query groups, key groups]`: summed over the places of a
    key's group, their mean over those of a query's group.

    The matrix is walked through once, in strips of queries within its working budget.

    Raises:
        ValueError: the result would take more than `max_bytes`.
    """
    *lead, rows, cols = matrix.shape
    wide = accumulation_dtype(matrix.dtype)
    size = prod(lead) * len(queries) * len(keys) * wide.itemsize
    if size > max_bytes:
        raise ValueError(
            f"words: the map of {len(queries):,} by {len(keys):,} would take {size:,} bytes, "
            f"max_bytes is {max_bytes:,}; take wider words, such as sentences, or fewer heads"
        )
    device = matrix.device
    total = torch.zeros(*lead, len(queries), len(keys), dtype=wide, device=device)
    parts = queries.share.new_zeros(len(queries))
    parts.index_add_(0, queries.group, queries.share)
    mean = (queries.share / parts[queries.group]).to(device, wide)
    key_place, key_group, share = keys.place.to(device), keys.group.to(device), keys.share
    step = max(1, matrix.memory // max(1, prod(lead) * (cols + len(key_place)) * wide.itemsize))
    with torch.no_grad():
        for first in range(0, rows, step):
            strip = matrix[..., first : first + step, :].to(wide)
            pieces = strip.index_select(-1, key_place) * share.to(device, wide)
            by_key = strip.new_zeros(*strip.shape[:-1], len(keys)).index_add_(-1, key_group, pieces)
            here = (queries.place >= first) & (queries.place < first + step)
            chosen = by_key.index_select(-2, (queries.place[here] - first).to(device))
            weights = mean[here.to(device)].unsqueeze(-1)
            total.index_add_(-2, queries.group[here].to(device), chosen * weights)
    return total
