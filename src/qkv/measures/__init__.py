"""Measures: what one sweep over the attention matrix can compute; `MEASURES` lists them all."""

from .base import Measure
from .cells import Columns, Top
from .diagonals import Diagonals
from .pool import Pool
from .product import Collected, Product
from .statistics import Distance, Entropy, LogSumExp, Mass, Support

MEASURES: tuple[type[Measure], ...] = (
    Product,
    Collected,
    Columns,
    Diagonals,
    Top,
    Mass,
    Entropy,
    Distance,
    Support,
    Pool,
    LogSumExp,
)
