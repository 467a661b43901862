"""Sizes and choices of the image classifier; needs no torch, for the command lists them."""

from __future__ import annotations

from dataclasses import dataclass

from qkv.models.options import Options, option, required

ARCHITECTURES = ("attention-cnn", "cnn", "vit")
CNN_CHANNELS, VIT_CHANNELS, CNN_LAYERS, VIT_LAYERS, HEADS, PATCH = 48, 128, 1, 6, 4, 4


@dataclass(frozen=True)
class ImageClassifierConfig(Options):
    """Sizes and choices of an image classifier.

    `attention-cnn` is a residual CNN with spatial attention and attention pooling. `cnn` is the
    same network without either, with as many parameters. `vit` is a small Vision Transformer.
    `height` and `width` are those of its pictures, in pixels.

    Raises:
        ValueError: a value breaks its rule, or has no meaning with the architecture.
    """

    labels: int = required(at_least=2)
    height: int = required(at_least=8)
    width: int = required(at_least=8)
    architecture: str = option(
        "attention-cnn",
        "Residual CNN with attention, the same without and with as many parameters, or ViT.",
        choices=ARCHITECTURES,
    )
    channels: int | None = option(
        None,
        f"Channels of a CNN's first stage (default: {CNN_CHANNELS}), width of a ViT's states "
        f"({VIT_CHANNELS}).",
        at_least=4,
    )
    layers: int | None = option(
        None,
        f"Blocks in each of a CNN's three stages (default: {CNN_LAYERS}), layers of a ViT "
        f"({VIT_LAYERS}).",
        at_least=1,
    )
    heads: int | None = option(None, f"Heads of attention; default: {HEADS}.", at_least=1)
    patch: int | None = option(None, f"Edge of a ViT's patches; default: {PATCH}.", at_least=1)
    dropout: float = option(0.0, "Share of activations dropped.", at_least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        alien = {"cnn": ("heads", "patch"), "attention-cnn": ("patch",)}
        for name in alien.get(self.architecture, ()):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"ImageClassifierConfig: {name} has no meaning with {self.architecture}"
                )
