"""The three stages for one query, with real numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

import torch
from torch import Tensor

from ..ground.tensors import integer, shape_of
from ..request.description import Description
from ..stage.base import type_given
from .at import entry_of
from .operand import operand
from .region import Region

_MOST_ROWS = 24  # of the printed table: the keys with most weight, in their order
_MOST_COLUMNS = 4  # of a weighted value
_BAR = "rgba(60,140,230,.35)"  # lets the notebook's ground through, light or dark


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What one query does with every key. All tensors are over the keys, `[Lk]`.

    `scores` are the scores before their scale, `scaled` after it, `biased` with the biases.
    `visible` says which keys the query may see, `weights` are the result of the normalizer. If a
    value was given, `weighted` `[Lk, Dv]` is weight times value and `output` `[Dv]` their sum;
    otherwise both are None. `row` is the index of the query, `score` and `normalizer` are the
    formulas.
    """

    row: int
    score: str
    normalizer: str
    scores: Tensor
    scaled: Tensor
    biased: Tensor
    visible: Tensor
    weights: Tensor
    weighted: Tensor | None
    output: Tensor | None

    def __str__(self) -> str:
        table = [self._header(), *self._rows()]
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in table
        ]
        hidden = self.weights.shape[0] - len(self._shown())
        if hidden:
            lines.append(f"... and {hidden} more keys of less weight")
        if self.output is not None:
            lines.append(f"sum of the weighted values: {_vector(self.output)}")
        return "\n".join([self._title(), *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same as a table for a notebook, with the weights as bars."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self._header())
        body = []
        for key, cells in zip(self._shown(), self._rows(), strict=True):
            width = 100 * float(self.weights[key].clamp(0, 1))
            bar = f"background:linear-gradient(90deg,{_BAR} {width:.1f}%,transparent 0)"
            tds = (f"<td>{escape(cell)}</td>" for cell in cells)
            body.append(f'<tr style="{bar}">{"".join(tds)}</tr>')
        end = "" if self.output is None else f"<p>sum: {escape(_vector(self.output))}</p>"
        title, rows = escape(self._title()), "".join(body)
        return f"<p>{title}</p><table><tr>{head}</tr>{rows}</table>{end}"

    def _title(self) -> str:
        return f"query {self.row}: score ({self.score}), normalize ({self.normalizer}), sum"

    def _header(self) -> list[str]:
        names = ["key", "score", "scaled", "biased", "weight"]
        return names if self.weighted is None else [*names, "weight * value"]

    def _shown(self) -> list[int]:
        count = self.weights.shape[0]
        if count <= _MOST_ROWS:
            return list(range(count))
        return sorted(self.weights.topk(_MOST_ROWS).indices.tolist())

    def _rows(self) -> list[list[str]]:
        columns = (self.scores, self.scaled, self.biased)
        rows = []
        for key in self._shown():
            cells = [str(key), *(f"{float(column[key]):.4f}" for column in columns)]
            cells.append(f"{float(self.weights[key]):.4f}" if self.visible[key] else "hidden")
            if self.weighted is not None:
                cells.append(_vector(self.weighted[key]))
            rows.append(cells)
        return rows


def explain(
    matrix: Description, row: int, value: Tensor | None, at: tuple[int, ...] | None
) -> Explanation:
    """See `AttentionMatrix.explain`."""
    at = entry_of("explain", at, matrix.shape)
    number, queries = integer(row), matrix.shape[-2]
    if number is None:
        raise TypeError(f"explain: row must be an integer; got {type_given(row)}")
    if not -queries <= number < queries:
        raise IndexError(f"explain: row must be in [{-queries}, {queries}); got {number}")
    region = Region.of(number, slice(None), matrix.shape, matrix.device)
    weights = region.weights(matrix)[at].detach()
    weighted = None
    if value is not None:
        terms = weights.unsqueeze(-1) * _value_at(matrix, value, at).detach()
        weighted = torch.where(weights.unsqueeze(-1) == 0, 0, terms)
    unscaled = replace(matrix, score=matrix.score.unscaled())
    return Explanation(
        row=number,
        score=matrix.score.formula,
        normalizer=matrix.normalizer.formula,
        scores=region.scores(unscaled, biased=False)[at].detach(),
        scaled=region.scores(matrix, biased=False)[at].detach(),
        biased=region.scores(matrix, biased=True)[at].detach(),
        visible=region.visible(matrix)[at],
        weights=weights,
        weighted=weighted,
        output=None if weighted is None else weighted.sum(-2),
    )


def _value_at(matrix: Description, value: Tensor, at: tuple[int, ...]) -> Tensor:
    """The values `[Lk, Dv]` for one entry of the leading dimensions."""
    operand(matrix, value, "explain: value")
    if value.shape[-2] != matrix.shape[-1]:
        raise ValueError(
            f"explain: value must have one row per key ({matrix.shape[-1]}); got {shape_of(value)}"
        )
    if value.ndim == 2:
        return value
    *batch, head = at
    value = value.expand(*matrix.shape[:-3], *value.shape[-3:])[tuple(batch)]
    return value[head * value.shape[0] // matrix.shape[-3]]


def _vector(values: Tensor) -> str:
    shown = ", ".join(f"{float(entry):.3f}" for entry in values[:_MOST_COLUMNS])
    return f"[{shown}{', ...' if values.shape[0] > _MOST_COLUMNS else ''}]"
