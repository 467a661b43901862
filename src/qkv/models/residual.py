"""A small residual CNN, with or without attention over its last map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from qkv.models.image_classifier_config import HEADS
from qkv.models.whitening import Whitening
from qkv.nn import AttentionPooling, SpatialAttention

_NEW = 0.4  # share of a batch in the running statistics: runs are short, and the weights move fast


class ResidualBlock(nn.Module):
    """A convolution whose normalized and activated output is added to its input `[B, C, H, W]`.

    Source: He et al., "Deep Residual Learning for Image Recognition" (2016), section 3.2, with one
    layer to a block.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution, self.norm = _convolution(channels, channels), _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.gelu(self.norm(self.convolution(x)))


class PlaceBlock(nn.Module):
    """A feed-forward network at each place of a map `[B, C, H, W]`, added to the map. It replaces
    attention, knows one place alone and has about `parameters` parameters."""

    def __init__(self, channels: int, parameters: int) -> None:
        super().__init__()
        hidden = round((parameters - 3 * channels) / (2 * channels + 1))
        self.norm = nn.LayerNorm(channels)
        self.enter, self.leave = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        for start in self.leave.parameters():  # adds nothing at first, as attention does
            nn.init.zeros_(start)

    def forward(self, x: Tensor) -> Tensor:
        places = self.norm(x.permute(0, 2, 3, 1))
        return x + self.leave(F.gelu(self.enter(places))).permute(0, 3, 1, 2)


class ResidualCNN(nn.Sequential):
    """`[B, 3, H, W]` to a map `[B, 4 * channels, H / 8, W / 8]`: whitening, three stages, and
    spatial attention or, without it, a `PlaceBlock` with as many parameters as spatial attention
    and attention pooling have together.

    A stage is a convolution (to `channels` in the first stage and four times as many in the
    others), a maximum over 2x2 places, and `blocks` residual blocks.

    Source: Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024), section 3, for sizes
    and the start from the identity; made smaller, and with residual connections.
    """

    def __init__(self, channels: int, blocks: int, heads: int | None) -> None:
        width = 4 * channels
        super().__init__(
            Whitening(),
            nn.GELU(),
            _stage(24, channels, blocks),
            _stage(channels, width, blocks),
            _stage(width, width, blocks),
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
        _norm(channels),
        nn.GELU(),
        *(ResidualBlock(channels) for _ in range(blocks)),
    )


def _last(width: int, heads: int | None) -> nn.Module:
    attention = SpatialAttention(width, heads or HEADS)
    if heads is None:
        replaced = (attention, AttentionPooling(width))
        return PlaceBlock(width, sum(p.numel() for layer in replaced for p in layer.parameters()))
    # It adds nothing at first.
    nn.init.zeros_(attention.attention.output.weight)
    return attention


def _convolution(inputs: int, channels: int) -> nn.Conv2d:
    """It starts by handing on what it reads; further channels start by chance."""
    layer = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:inputs])
    return layer


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=_NEW)
