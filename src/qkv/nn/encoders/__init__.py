"""Encoders: a sequence of vectors in, a state for each of them out."""

from .base import Encoder
from .conv import ConvEncoder
from .hybrid import HybridEncoder
from .recurrent import RecurrentEncoder
from .self_attention import SelfAttentionEncoder

__all__ = [
    "ConvEncoder",
    "Encoder",
    "HybridEncoder",
    "RecurrentEncoder",
    "SelfAttentionEncoder",
]
