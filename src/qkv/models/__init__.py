"""Models built on the engine's front door. Each is a plain `torch.nn.Module` with a config."""

from qkv.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from qkv.models.sequence_to_sequence import SequenceToSequence, SequenceToSequenceConfig
from qkv.models.translation import TranslationModel

__all__ = [
    "EncoderDecoder",
    "EncoderDecoderConfig",
    "SequenceToSequence",
    "SequenceToSequenceConfig",
    "TranslationModel",
]
