# ruff: noqa: F401 - names are imported here to be taken from here
"""The public names of the engine. The first use of one of them in `qkv` loads the whole engine, and
torch."""

from __future__ import annotations

from .biases.alibi import ALiBi
from .biases.relative import RelativeBias
from .biases.softcap import SoftCap
from .ground.errors import UnsupportedError
from .impl.choose import implementations
from .masks.causal import Causal
from .masks.dense import Dense
from .masks.documents import Documents
from .masks.intervals import Intervals
from .masks.padding import Padding
from .masks.prefix import Prefix
from .masks.window import Window
from .matrix.attention import attend, attention
from .matrix.dispatch import Plan
from .matrix.explain import Explanation
from .matrix.matrix import AttentionMatrix
from .matrix.prepare import PreparedKey, prepare
from .matrix.rollout import rollout
from .matrix.scaled_dot_product import scaled_dot_product_attention
from .measures.cells import Links, Top
from .measures.diagonals import Diagonals
from .measures.pool import Pool
from .measures.product import Collected, Product
from .measures.statistics import Distance, Entropy, LogSumExp, Mass, Support
from .normalizers.entmax import Entmax
from .normalizers.entmax15 import Entmax15
from .normalizers.identity import Identity
from .normalizers.sigmoid import Sigmoid
from .normalizers.softmax import Softmax
from .normalizers.sparsemax import Sparsemax
from .normalizers.topk import TopK
from .scores.additive import Additive
from .scores.bilinear import Bilinear
from .scores.cosine import Cosine
from .scores.dot import Dot
from .scores.gaussian import Gaussian
