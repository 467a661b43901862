"""Scores: how alike a query and a key are. Each has a file; the tuple `SCORES` lists them all."""

from .additive import Additive
from .base import Score
from .bilinear import Bilinear
from .cosine import Cosine
from .custom import CustomScore
from .dot import Dot
from .gaussian import Gaussian

SCORES: tuple[type[Score], ...] = (Dot, Bilinear, Cosine, Gaussian, Additive, CustomScore)
