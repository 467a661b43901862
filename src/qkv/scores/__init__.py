"""Scores: how alike a query and a key are. One file each; this tuple lists them all."""

from .additive import Additive
from .base import Score
from .custom import CustomScore
from .dot import Dot

SCORES: tuple[type[Score], ...] = (Dot, Additive, CustomScore)
