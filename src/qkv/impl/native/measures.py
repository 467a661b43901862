"""Measures as the native kernels take them, and what they found as measures give it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import native
from ...blocks.layout import Layout
from ...measures.base import Measure
from ...measures.cells import Columns, Top
from ...measures.diagonals import Diagonals
from ...measures.pool import Pool, cells_of_map
from ...measures.product import Collected, Product
from ...measures.statistics import Distance, Entropy, LogSumExp, Mass, Support
from ...native.request import Wanted
from ...request.parts import Pieces
from .stages import WIDEST, Operands, one_batch

_NUMBERS = (LogSumExp, Entropy, Distance, Support, Mass)
_KNOWN = (*_NUMBERS, Product, Collected, Top, Pool, Columns, Diagonals)


def measures_reason(measures: tuple[Measure, ...], pieces: Pieces) -> str | None:
    """Why the kernels do not take these measures, or None."""
    kinds = [type(measure) for measure in measures]
    for kind, own in zip(kinds, pieces.measures, strict=True):
        if kind not in _KNOWN:
            return f"its kernels do not compute {kind.__name__}"
        if kinds.count(kind) > 1:
            return f"its kernels compute one {kind.__name__} at a time"
        if kind in (Product, Collected) and own[0].shape[-1] > WIDEST:
            return f"its kernels take widths up to {WIDEST}"
        if kind is Product and own[0].shape[-3] != 1:
            return "its kernels take one value for all heads of a group"
    return None


def value_of(measures: tuple[Measure, ...], pieces: Pieces) -> Tensor | None:
    """What the matrix is to be multiplied by, in canonical form."""
    for measure, own in zip(measures, pieces.measures, strict=True):
        if isinstance(measure, Product):
            return own[0]
    return None


def sweep(
    operands: Operands, measures: tuple[Measure, ...], pieces: Pieces, layout: Layout
) -> list[Tensor]:
    """The results of all measures, in the order of their outputs."""
    wanted = _wanted(operands, measures, pieces, layout)
    found = native.forward(
        operands.query, operands.key, operands.value, operands.scale, operands.stages, wanted
    )
    results = []
    for measure in measures:
        for name in _names(measure):
            result = getattr(found, name)
            assert isinstance(result, Tensor)
            results.append(result)
        if isinstance(measure, Pool) and measure.how == "max":  # what is hidden is in it already
            shape = measure.rows, measure.cols
            cells = cells_of_map(shape, layout.queries, layout.keys, operands.query.device)
            results.append(cells.expand(*layout.lead, *shape))
    return results


def _wanted(
    operands: Operands, measures: tuple[Measure, ...], pieces: Pieces, layout: Layout
) -> Wanted:
    named: dict[str, Any] = {}
    for measure, own in zip(measures, pieces.measures, strict=True):
        if isinstance(measure, _NUMBERS):
            named[measure.name] = True
        elif isinstance(measure, Top):
            named["top"] = measure.k
        elif isinstance(measure, Pool):  # the measure divides sums into means itself
            how = "max" if measure.how == "max" else "sum"
            named["pool"] = measure.rows, measure.cols, how
        elif isinstance(measure, Columns):
            named["columns"] = own[0]
        elif isinstance(measure, Diagonals):
            named["diagonals"] = torch.tensor(measure.within_reach, device="cpu")
        elif isinstance(measure, Collected):
            named["collected"] = one_batch(own[0].to(operands.query.dtype), layout)
    return Wanted(**named)


def _names(measure: Measure) -> tuple[str, ...]:
    """What a sweep calls the results of a measure."""
    if isinstance(measure, Top):
        return "top_weights", "top_keys"
    others = {Product: "output", Columns: "chosen_weights"}
    return (others.get(type(measure), measure.name),)
