"""A first layer that is computed from the pictures, not learnt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EDGE = 2  # of the patches
_FLOOR = 5e-4  # added to variances: what hardly varies is noise, and is not blown up


class Whitening(nn.Conv2d):
    """Maps `[B, 3, H, W]` to `[B, 24, H, W]`: the 2×2 patches in the directions of their principal
    components, each scaled to variance 1, and the same negated. Only its bias is learnt.

    Neighbouring pixels nearly agree, so without it the first layer of a CNN would see mostly one
    number.

    Source: Page, "How to Train Your ResNet 8" (2019), patch whitening; Jordan, "94% on
    CIFAR-10 in 3.29 Seconds on a Single GPU" (2024), section 3.2.
    """

    def __init__(self) -> None:
        super().__init__(3, 6 * _EDGE**2, _EDGE)
        self.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))  # so that the map keeps its size

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Computes the directions from pictures `[N, 3, H, W]`, normalized as the layer will read
        them."""
        total, count = torch.zeros(3 * _EDGE**2, 3 * _EDGE**2, dtype=torch.float64), 0
        for part in images.split(100):
            patches = F.unfold(part, _EDGE).transpose(1, 2).flatten(0, 1).double().cpu()
            total += patches.mT @ patches
            count += len(patches)
        variances, directions = torch.linalg.eigh(total / count)
        rows = (directions / (variances + _FLOOR).sqrt()).mT.view(-1, 3, _EDGE, _EDGE)
        self.weight.copy_(torch.cat([rows, -rows]))
