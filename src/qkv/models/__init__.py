"""Models built on the engine's front door. Each is a plain `torch.nn.Module` with a config.

They are loaded when first named: the command reads the configs without waiting for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.models.encoder_decoder import Encoded as Encoded
    from qkv.models.encoder_decoder import EncoderDecoder as EncoderDecoder
    from qkv.models.encoder_decoder_config import EncoderDecoderConfig as EncoderDecoderConfig

_HOMES = {
    "Encoded": "encoder_decoder",
    "EncoderDecoder": "encoder_decoder",
    "EncoderDecoderConfig": "encoder_decoder_config",
}
__all__ = ["Encoded", "EncoderDecoder", "EncoderDecoderConfig"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
