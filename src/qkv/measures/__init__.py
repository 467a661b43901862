"""Measures: what one sweep over the attention matrix can compute. This tuple lists them all."""

from .base import Measure
from .cells import Columns, Top
from .product import Collected, Product
from .statistics import Entropy, LogSumExp, Mass

MEASURES: tuple[type[Measure], ...] = (
    Product,
    Collected,
    Columns,
    Top,
    Mass,
    Entropy,
    LogSumExp,
)
