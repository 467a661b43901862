"""Biases change scores before they are normalized. Each has a file; `BIASES` lists them all."""

from .alibi import ALiBi
from .base import Bias
from .custom import CustomBias
from .relative import RelativeBias
from .softcap import SoftCap
from .tensor import TensorBias

BIASES: tuple[type[Bias], ...] = (TensorBias, ALiBi, RelativeBias, SoftCap, CustomBias)
