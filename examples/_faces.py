"""Sets of real pictures, half of which hold a face."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from _program import scikit_image_data
from torch import Tensor

FACES = 100  # the first so many pictures are faces, the others are not
SMALLEST, LARGEST = 4, 12  # members of a set
MOST_FACES = 2  # in a set that has any


@dataclass(frozen=True)
class Sets:
    """Sets of pictures, padded to the same size; half of them hold a face."""

    members: Tensor  # [sets, LARGEST]: which picture
    lengths: Tensor  # [sets]
    is_face: Tensor  # [sets, LARGEST]

    @property
    def has_face(self) -> Tensor:
        return self.is_face.any(1)


def load_pictures() -> Tensor:
    """`[200, 25, 25]`, each with mean 0 and variance 1."""
    pictures = torch.from_numpy(scikit_image_data().lfw_subset()).float()
    spread = pictures.std((1, 2), keepdim=True).clamp(min=0.05)
    return (pictures - pictures.mean((1, 2), keepdim=True)) / spread


def draw_sets(faces: Tensor, others: Tensor, count: int) -> Sets:
    """Random sets of these pictures."""
    lengths = torch.randint(SMALLEST, LARGEST + 1, (count,))
    amount = torch.randint(1, MOST_FACES + 1, (count,)) * (torch.arange(count) % 2)
    padding = torch.arange(LARGEST) >= lengths[:, None]
    rank = torch.rand(count, LARGEST).masked_fill(padding, 2).argsort(1).argsort(1)
    is_face = rank < amount[:, None]
    return Sets(torch.where(is_face, _some(faces, count), _some(others, count)), lengths, is_face)


def _some(pictures: Tensor, count: int) -> Tensor:
    """For every set `LARGEST` different ones of these pictures."""
    return pictures[torch.rand(count, len(pictures)).argsort(1)[:, :LARGEST]]
