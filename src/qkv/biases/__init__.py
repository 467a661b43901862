"""Biases: what is added to scores. One file each; this tuple lists them all."""

from .base import Bias
from .tensor import TensorBias

BIASES: tuple[type[Bias], ...] = (TensorBias,)
