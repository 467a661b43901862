"""Measures as the native kernels take them, and what they found as measures give it."""

from __future__ import annotations

from torch import Tensor

from ..measures.base import Measure
from ..measures.product import Product
from .native_request import WIDEST, Pieces


def reason(measures: tuple[Measure, ...], pieces: Pieces) -> str | None:
    """Why the kernels do not take these measures, or None."""
    kinds = [type(measure) for measure in measures]
    if kinds != [Product]:
        return "its kernels compute A @ value alone"
    value = pieces["measure 0"][0]
    if value.shape[-3] != 1:
        return "its kernels take one value for all heads of a group"
    if value.shape[-1] > WIDEST:
        return f"its kernels take widths up to {WIDEST}"
    return None


def value(measures: tuple[Measure, ...], pieces: Pieces) -> Tensor | None:
    """What the matrix is to be multiplied by, in canonical form."""
    for index, measure in enumerate(measures):
        if isinstance(measure, Product):
            return pieces[f"measure {index}"][0]
    return None
