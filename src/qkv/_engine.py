# ruff: noqa: F401 - names are imported here to be taken from here
"""The public names of the engine; naming one of them in `qkv` loads all of it, and torch."""

from __future__ import annotations

from ._attention import attend, attention
from ._dispatch import Plan, implementations
from ._errors import UnsupportedError
from ._explain import Explanation
from ._matrix import AttentionMatrix
from .masks.causal import Causal
from .masks.dense import Dense
from .masks.padding import Padding
from .measures.cells import Links, Top
from .measures.product import Collected, Product
from .measures.statistics import Entropy, LogSumExp, Mass
from .normalizers.softmax import Softmax
from .normalizers.sparsemax import Sparsemax
from .scores.additive import Additive
from .scores.dot import Dot
