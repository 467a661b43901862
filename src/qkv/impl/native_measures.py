"""Measures as the native kernels take them, and what they found as measures give it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..measures.base import Measure
from ..measures.cells import Columns, Top
from ..measures.pool import Pool
from ..measures.product import Collected, Product
from ..measures.statistics import Distance, Entropy, LogSumExp, Mass, Support
from ..native import Statistics, Wanted
from .native_request import WIDEST, one_batch
from .._layout import Layout

_KNOWN = (
    Product, Collected, LogSumExp, Entropy, Distance, Support, Mass, Top, Pool, Columns
)  # fmt: skip
Own = list[tuple[Tensor, ...]]  # the tensors of each measure


def reason(measures: tuple[Measure, ...], own: Own) -> str | None:
    """Why the kernels do not take these measures, or None."""
    kinds = [type(measure) for measure in measures]
    for kind in kinds:
        if kind not in _KNOWN:
            return f"its kernels do not compute {kind.__name__}"
        if kinds.count(kind) > 1:
            return f"its kernels compute one {kind.__name__} at a time"
    for measure, tensors in zip(measures, own, strict=True):
        if isinstance(measure, (Product, Collected)):
            if tensors[0].shape[-3] != 1 and isinstance(measure, Product):
                return "its kernels take one value for all heads of a group"
            if tensors[0].shape[-1] > WIDEST:
                return f"its kernels take widths up to {WIDEST}"
    return None


def wanted(measures: tuple[Measure, ...], own: Own, layout: Layout, dtype: torch.dtype) -> Wanted:
    """What a sweep of the kernels shall compute, beside product and logsumexp."""
    asked: dict = {}
    for measure, tensors in zip(measures, own, strict=True):
        match measure:
            case Entropy() | Distance() | Support() | Mass():
                asked[measure.name] = True
            case Top():
                asked["top"] = measure.k
            case Pool():
                asked["pool"] = measure.rows, measure.cols, measure.how
            case Columns():
                asked["columns"] = tensors[0]
            case Collected():
                asked["collected"] = one_batch(tensors[0], layout).to(dtype)
    return Wanted(**asked)


def found(
    measures: tuple[Measure, ...],
    statistics: Statistics,
    output: Tensor | None,
    logsumexp: Tensor | None,
) -> list[Tensor]:
    """The results, in the order of the measures' outputs."""
    results: list[Tensor | None] = []
    for measure in measures:
        match measure:
            case Product():
                results.append(output)
            case LogSumExp():
                results.append(logsumexp)
            case Top():
                results += [statistics.top_weights, statistics.top_keys]
            case Columns():
                results.append(statistics.chosen_weights)
            case _:
                results.append(getattr(statistics, measure.name))
    assert all(result is not None for result in results)
    return results
