"""Layers on the front door: attention in heads, over sets and over maps; encoders and decoders.

All are `torch.nn.Module`s with the batch first. A layer that takes `lengths` never sees padding: a
batch gives what its sequences give one by one. Every layer that attends hands out its
`AttentionMatrix`.
"""

from .cache import KeyValueCache, PreparedContext
from .decoders import Decoder, RecurrentDecoder, SelfAttentionDecoder
from .encoders import (
    ConvEncoder,
    Encoder,
    HybridEncoder,
    RecurrentEncoder,
    SelfAttentionEncoder,
)
from .grid import GridBias
from .multihead import MultiHeadAttention
from .pooling import AttentionPooling
from .positions import LearntPositions, Rotary, SinusoidalPositions
from .spatial import SpatialAttention
from .transformer import TransformerLayer

__all__ = [
    "AttentionPooling",
    "ConvEncoder",
    "Decoder",
    "Encoder",
    "GridBias",
    "HybridEncoder",
    "KeyValueCache",
    "LearntPositions",
    "MultiHeadAttention",
    "PreparedContext",
    "RecurrentDecoder",
    "RecurrentEncoder",
    "Rotary",
    "SelfAttentionDecoder",
    "SelfAttentionEncoder",
    "SinusoidalPositions",
    "SpatialAttention",
    "TransformerLayer",
]
