"""Normalizers: how scores become weights. Each has a file; `NORMALIZERS` lists them all."""

from .base import Normalizer
from .custom import CustomNormalizer
from .entmax import Entmax
from .entmax15 import Entmax15
from .identity import Identity
from .sigmoid import Sigmoid
from .softmax import Softmax
from .sparsemax import Sparsemax
from .topk import TopK

NORMALIZERS: tuple[type[Normalizer], ...] = (
    Softmax,
    Sparsemax,
    Entmax15,
    Entmax,
    Sigmoid,
    TopK,
    Identity,
    CustomNormalizer,
)
