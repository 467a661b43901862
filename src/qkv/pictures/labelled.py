"""Weights with a label for each row and column: checked, cleaned, merged and cut for drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelledWeights:
    """Weights `[rows, columns]`, finite and not negative, and their labels.

    Labels are cleaned for display: white space becomes `␣` and what cannot be shown `�`, so
    a label can neither break a line nor steer a terminal.
    """

    weights: Tensor
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    @classmethod
    def check(
        cls, caller: str, weights: Any, rows: Sequence[str], columns: Sequence[str]
    ) -> LabelledWeights:
        """Make one from what a user gave.

        Raises ValueError, in the name of `caller`, when shape and labels disagree or there is
        nothing to draw, or a weight is negative or not finite.
        """
        dense = weights.dense() if hasattr(weights, "dense") else torch.as_tensor(weights)
        dense = dense.detach().float()
        if list(dense.shape) != [len(rows), len(columns)]:
            raise ValueError(
                f"{caller}: weights must be [rows, columns], one label for each; got weights "
                f"{list(dense.shape)}, {len(rows)} row labels, {len(columns)} column labels"
            )
        if dense.numel() == 0:
            raise ValueError(f"{caller}: there is nothing to draw; got weights {list(dense.shape)}")
        if not bool((torch.isfinite(dense) & (dense >= 0)).all()):
            raise ValueError(f"{caller}: weights must be finite and not negative")
        return cls(dense, tuple(map(displayed, rows)), tuple(map(displayed, columns)))

    def cut(
        self, rows: int, columns: int, nouns: tuple[str, str] = ("rows", "columns")
    ) -> tuple[LabelledWeights, str | None]:
        """The first rows and columns, at most so many, and a note on what was left out, which calls
        them by these nouns."""
        first = LabelledWeights(
            self.weights[:rows, :columns], self.rows[:rows], self.columns[:columns]
        )
        left_out = []
        for limit, labels, name in zip(
            (rows, columns), (self.rows, self.columns), nouns, strict=True
        ):
            if limit < 1:
                raise ValueError(f"max_{name} must be at least 1; got {limit}")
            if len(labels) > limit:
                left_out.append(f"the first {limit:,} of {len(labels):,} {name}")
        return first, f"shown: {' and '.join(left_out)}" if left_out else None

    def strongest(self, top: float | None) -> float:
        """The weight to draw strongest: `top`, or the largest there is (1 if all are zero)."""
        if top is not None and not top > 0:
            raise ValueError(f"top must be a weight above 0, or None for the largest; got {top}")
        return top or float(self.weights.max()) or 1.0

    def share(self, strongest: float) -> Tensor:
        """Weights as a share in [0, 1] of the one drawn strongest."""
        return (self.weights / strongest).clamp(max=1.0)


def panels(sizes: Sequence[float], room: float) -> Iterator[tuple[int, int]]:
    """Cut columns of these sizes into ranges `(start, stop)` that fit the room, one at least."""
    start, used = 0, 0.0
    for column, size in enumerate(sizes):
        used += size
        if used > room and column > start:
            yield start, column
            start, used = column, size
    yield start, len(sizes)


def merge_columns(
    weights: Any, columns: Sequence[str], spans: Sequence[tuple[int, int]]
) -> tuple[Tensor, tuple[str, ...]]:
    """Merges neighbouring columns, such as the pieces of a word, into one.

    The weight of a merged column is the sum over its parts, and its label joins their labels. A
    column in no span stays.

    Args:
        weights: `[rows, columns]`.
        columns: a label for each column.
        spans: ranges `[start, stop)` of columns, in order and without overlap.

    Returns:
        The new weights and labels.

    Raises:
        ValueError: a span is empty, out of order or out of range.
    """
    dense = weights.dense() if hasattr(weights, "dense") else torch.as_tensor(weights)
    ranges: list[tuple[int, int]] = []
    done = 0
    for start, stop in spans:
        if not done <= start < stop <= len(columns):
            raise ValueError(
                "merge_columns: spans must be non-empty, in order and within the "
                f"{len(columns)} columns; got {(start, stop)} after column {done}"
            )
        ranges += [*_singles(done, start), (start, stop)]
        done = stop
    ranges += _singles(done, len(columns))
    labels = tuple("".join(columns[start:stop]) for start, stop in ranges)
    return torch.stack([dense[:, start:stop].sum(1) for start, stop in ranges], 1), labels


def _singles(start: int, stop: int) -> list[tuple[int, int]]:
    return [(column, column + 1) for column in range(start, stop)]


def shortened(label: str, characters: int) -> str:
    """The label, cut where it has more characters than these."""
    return label if len(label) <= characters else label[: characters - 1] + "…"


def displayed(label: str) -> str:
    """The label in one line: white space as `␣`, what cannot be shown as `�`."""
    return "".join(
        "␣" if character.isspace() else character if character.isprintable() else "�"
        for character in label
    )
