"""Models built on the engine's front door. Each is a plain `torch.nn.Module` with a config."""

from qkv.models.encoder_decoder import Encoded, EncoderDecoder, EncoderDecoderConfig

__all__ = ["Encoded", "EncoderDecoder", "EncoderDecoderConfig"]
