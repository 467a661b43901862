"""A small residual CNN, with attention over its last map or without."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from qkv.models.image_classifier_config import HEADS
from qkv.nn import AttentionPooling, SpatialAttention


class ResidualBlock(nn.Module):
    """Two convolutions whose answer is added to what they read, `[B, C, H, W]`.

    Source: He et al., "Deep Residual Learning for Image Recognition" (2016), figure 5, left; the
    shortcut: He et al., "Bag of Tricks for Image Classification with Convolutional Neural
    Networks" (2019), figure 2 (c).
    """

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, channels, 3, stride)
        self.second = _convolution(channels, channels, 3)
        # Training starts from the identity: the block adds nothing at first.
        nn.init.zeros_(self.second[1].get_parameter("weight"))
        same = inputs == channels and stride == 1
        self.shortcut = nn.Identity() if same else _shortcut(inputs, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.second(F.relu(self.first(x))))


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
    """`[B, 3, H, W]` to a map `[B, 4 * channels, H / 4, W / 4]`: three stages of `blocks` residual
    blocks, each stage with twice the channels of the one before on a quarter of its places, then
    spatial attention or, without it, a `PlaceBlock` with as many parameters as spatial attention
    and attention pooling have together."""

    def __init__(self, channels: int, blocks: int, heads: int | None) -> None:
        layers: list[nn.Module] = [_convolution(3, channels, 3), nn.ReLU()]
        inputs = channels
        for stage in range(3):
            width = channels * 2**stage
            for block in range(blocks):
                layers.append(ResidualBlock(inputs, width, 2 if stage and not block else 1))
                inputs = width
        super().__init__(*layers, _last(inputs, heads))
        self.width = inputs


def _last(width: int, heads: int | None) -> nn.Module:
    if heads is not None:
        return SpatialAttention(width, heads)
    replaced = (SpatialAttention(width, HEADS), AttentionPooling(width))
    return PlaceBlock(width, sum(p.numel() for layer in replaced for p in layer.parameters()))


def _shortcut(inputs: int, channels: int, stride: int) -> nn.Sequential:
    """The mean of the places that become one, then new channels.

    A strided 1×1 convolution would skip places. Its gradient for fewer than 8 channels, channels
    last, also writes outside of its memory in oneDNN, which torch 2.13 uses on processors.
    """
    mean = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(mean, *_convolution(inputs, channels, 1))


def _convolution(inputs: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
    )
