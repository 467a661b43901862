"""Encoders: from a sequence of vectors to a state for each of them."""

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
