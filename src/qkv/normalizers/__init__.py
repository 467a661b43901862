"""Normalizers: how scores become weights. One file each; this tuple lists them all."""

from .base import Normalizer
from .softmax import Softmax
from .sparsemax import Sparsemax

NORMALIZERS: tuple[type[Normalizer], ...] = (Softmax, Sparsemax)
