"""Classifies pictures: a map of states is pooled into one vector, which gets a class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import qkv
from qkv.models.image_classifier_config import (
    CNN_CHANNELS,
    CNN_LAYERS,
    HEADS,
    PATCH,
    VIT_CHANNELS,
    VIT_LAYERS,
    ImageClassifierConfig,
)
from qkv.models.residual import ResidualCNN
from qkv.nn import AttentionPooling, LearntPositions, SelfAttentionEncoder

_WHITENED = 1000  # pictures are enough to know how neighbouring pixels agree


class ImageClassifier(nn.Module):
    """Maps pictures to logits over classes: a `ResidualCNN` or a `PatchTransformer`, then attention
    pooling, or the mean for the architecture `cnn`.

    `mean` and `deviation` `[3]` are the means and standard deviations of the channels of the
    training pictures (see `fit`), on the scale from 0 to 255. They are stored with the weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: ImageClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.full((3,), 127.5))
        self.register_buffer("deviation", torch.full((3,), 64.0))
        self.body = _body(config)
        self.pooling = None if config.architecture == "cnn" else AttentionPooling(self.body.width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(self.body.width, config.labels)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Compute from the training pictures `[N, 3, H, W]` what is not learnt: `mean`,
        `deviation` and the filters of the whitening layer."""
        channels = images.transpose(0, 1).flatten(1)
        for figure, buffer in (("mean", self.mean), ("std", self.deviation)):
            figures = [getattr(channel.double(), figure)() for channel in channels]
            buffer.copy_(torch.stack(figures))
        self.deviation.clamp_(min=1.0)
        if isinstance(self.body, ResidualCNN):
            self.body.whitening.fit(self._normalized(images[:: -(-len(images) // _WHITENED)]))

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, labels]` of pictures `[B, 3, H, W]` with values from 0 to 255."""
        return self.decide(self.read(images))

    def attention(self, images: Tensor) -> qkv.AttentionMatrix | None:
        """Where pooling looks in pictures `[B, 3, H, W]`: `[B, 1, 1, h * w]`, row after row of the
        map. None if the architecture has no attention."""
        return self.pooling_matrix(self.read(images))

    def pooling_matrix(self, features: Tensor) -> qkv.AttentionMatrix | None:
        """The same for the map `[B, C, h, w]` that `read` returned."""
        return None if self.pooling is None else self.pooling.matrix(_places(features))

    def decide(self, features: Tensor) -> Tensor:
        """Logits `[B, labels]` of the map `[B, C, h, w]` that `read` returned."""
        places = _places(features)
        pooled = places.mean(1) if self.pooling is None else self.pooling(places).squeeze(1)
        return self.output(self.dropout(pooled))

    def read(self, images: Tensor) -> Tensor:
        """The map `[B, C, h, w]` of pictures `[B, 3, H, W]`."""
        images = self._normalized(images)
        return self.body(images.contiguous(memory_format=torch.channels_last))

    def _normalized(self, images: Tensor) -> Tensor:
        mean, deviation = (b.view(3, 1, 1) for b in (self.mean, self.deviation))
        return (images.to(mean.dtype) - mean) / deviation


class PatchTransformer(nn.Module):
    """Pictures `[B, 3, H, W]` to the states of their patches, `[B, width, H / patch, W / patch]`.

    Raises:
        ValueError: the patch does not divide height and width.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), section 3.1, without the
    class token.
    """

    def __init__(self, config: ImageClassifierConfig) -> None:
        super().__init__()
        self.patch, self.width = config.patch or PATCH, config.channels or VIT_CHANNELS
        if config.height % self.patch or config.width % self.patch:
            raise ValueError(
                "ImageClassifierConfig: patch must divide height and width; got "
                f"{self.patch}, {config.height}, {config.width}"
            )
        self.size = config.height // self.patch, config.width // self.patch
        self.encoder = SelfAttentionEncoder(
            3 * self.patch**2,
            self.width,
            config.heads or HEADS,
            config.layers or VIT_LAYERS,
            positions=LearntPositions(self.width, self.size[0] * self.size[1]),
            dropout=config.dropout,
            activation="gelu",
        )

    def forward(self, images: Tensor) -> Tensor:
        """The states of the patches, as a map."""
        patches = nn.functional.unfold(images, self.patch, stride=self.patch).transpose(1, 2)
        return self.encoder(patches).transpose(1, 2).unflatten(2, self.size)


def _places(features: Tensor) -> Tensor:
    """A map as a sequence `[B, h * w, C]`, row after row."""
    return features.flatten(2).transpose(1, 2)


def _body(config: ImageClassifierConfig) -> ResidualCNN | PatchTransformer:
    if config.architecture == "vit":
        return PatchTransformer(config)
    heads = None if config.architecture == "cnn" else config.heads or HEADS
    return ResidualCNN(config.channels or CNN_CHANNELS, config.layers or CNN_LAYERS, heads)
