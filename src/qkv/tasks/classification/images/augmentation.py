"""Pictures as they might have been taken too."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(images: Tensor, chosen: Tensor) -> Tensor:
    """Pictures `[B, 3, H, W]`, the `chosen` ones `[B]` left to right."""
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each picture `[B, 3, H, W]` moved by at most so many pixels down or up and to a side; the
    pixels at the edge are repeated into the room that this leaves."""
    count, _, height, width = images.shape
    moved = torch.randint(-most, most + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + moved[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + moved[1]).clamp(0, width - 1)
    every = torch.arange(count).view(-1, 1, 1)
    places = images.permute(0, 2, 3, 1)[every, rows.unsqueeze(2), columns.unsqueeze(1)]
    return places.permute(0, 3, 1, 2)


def cut_out(images: Tensor, edge: int, generator: torch.Generator) -> Tensor:
    """Pictures `[B, 3, H, W]`, in each of which a square of `edge` pixels is the picture's mean
    colour; its centre may be anywhere in the picture, so part of the square may lie outside.

    Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout" (2017), section 3.2.
    """
    count, _, height, width = images.shape
    spans = []
    for size in (height, width):
        start = torch.randint(size, (count, 1), generator=generator) - edge // 2
        place = torch.arange(size)
        spans.append((place >= start) & (place < start + edge))
    inside = (spans[0].unsqueeze(2) & spans[1].unsqueeze(1)).unsqueeze(1)
    mean = images.float().mean((2, 3), keepdim=True).round().to(images.dtype)
    return torch.where(inside, mean, images)
