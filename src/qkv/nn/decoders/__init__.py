"""Decoders: from what was written so far and an encoder's states to a vector for what follows."""

from .base import Decoder
from .recurrent import RecurrentDecoder
from .self_attention import SelfAttentionDecoder

__all__ = ["Decoder", "RecurrentDecoder", "SelfAttentionDecoder"]
