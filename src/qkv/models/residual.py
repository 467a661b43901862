"""A small residual CNN, with attention over its last map or without."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from qkv.models.image_classifier_config import HEADS
from qkv.models.whitening import Whitening
from qkv.nn import AttentionPooling, SpatialAttention


class ResidualBlock(nn.Module):
    """Two convolutions whose answer is added to what they read, `[B, C, H, W]`.

    Source: He et al., "Deep Residual Learning for Image Recognition" (2016), figure 5, left.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_convolution(channels, channels), nn.BatchNorm2d(channels))
        self.second = nn.Sequential(_convolution(channels, channels), nn.BatchNorm2d(channels))
        # Training starts from the identity: the block adds nothing at first.
        nn.init.zeros_(self.second[1].get_parameter("weight"))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class PlaceBlock(nn.Module):
    """A feed-forward network at each place of a map, added to it: what stands where attention
    would, knows one place alone and has about `parameters` parameters."""

    def __init__(self, channels: int, parameters: int) -> None:
        super().__init__()
        hidden = round((parameters - 3 * channels) / (2 * channels + 1))
        self.norm = nn.LayerNorm(channels)
        self.enter, self.leave = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        places = self.norm(x.permute(0, 2, 3, 1))
        return x + self.leave(F.gelu(self.enter(places))).permute(0, 3, 1, 2)


class ResidualCNN(nn.Sequential):
    """`[B, 3, H, W]` to a map `[B, 4 * channels, H / 4, W / 4]`: whitening, two stages, and spatial
    attention or, without it, a `PlaceBlock` with as many parameters as spatial attention and
    attention pooling have together.

    A stage is a convolution, to `channels` and then to four times as many, the largest of whose
    answers at four places goes on, and `blocks` residual blocks: nearly all is computed on a
    quarter of the places or less. Source: Page, "How to Train Your ResNet" (2018), made smaller.
    """

    def __init__(self, channels: int, blocks: int, heads: int | None) -> None:
        width = 4 * channels
        super().__init__(
            Whitening(),
            nn.ReLU(),
            _stage(24, channels, blocks),
            _stage(channels, width, blocks),
            _last(width, heads),
        )
        self.width = width

    @property
    def whitening(self) -> Whitening:
        """The first layer."""
        first = self[0]
        assert isinstance(first, Whitening)
        return first


def _stage(inputs: int, channels: int, blocks: int) -> nn.Sequential:
    # Pooled first, normalization and activation have a quarter of the places to go through.
    return nn.Sequential(
        _convolution(inputs, channels),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        *(ResidualBlock(channels) for _ in range(blocks)),
    )


def _last(width: int, heads: int | None) -> nn.Module:
    if heads is not None:
        return SpatialAttention(width, heads)
    replaced = (SpatialAttention(width, HEADS), AttentionPooling(width))
    return PlaceBlock(width, sum(p.numel() for layer in replaced for p in layer.parameters()))


def _convolution(inputs: int, channels: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
