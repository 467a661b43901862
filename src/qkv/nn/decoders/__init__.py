"""Decoders: what was written so far and what an encoder read in, a vector for what follows out."""

from .base import Decoder
from .recurrent import RecurrentDecoder
from .self_attention import SelfAttentionDecoder

__all__ = ["Decoder", "RecurrentDecoder", "SelfAttentionDecoder"]
