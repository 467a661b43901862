"""Matrices made to be heads of a kind."""

from __future__ import annotations

import torch
from torch import Tensor

import qkv

LENGTH = 40
PLACE = torch.arange(LENGTH)
AHEAD = PLACE[None] - PLACE[:, None]  # of the query's position
ENDS = (PLACE % 10 == 9).expand(LENGTH, LENGTH)
TOKENS = ["[SEP]" if place % 10 == 9 else f"w{place}" for place in range(LENGTH)]


def _content() -> Tensor:
    return 8 * torch.randn(LENGTH, LENGTH, generator=torch.Generator().manual_seed(0))


# Scores `[L, L]` of a head for each name.
SCORES = {
    "previous token": 20.0 * (AHEAD == -1),
    "next token": 20.0 * (AHEAD == 1),
    "same token": 20.0 * (AHEAD == 0),
    "first-token sink": 20.0 * (PLACE == 0).expand(LENGTH, LENGTH),
    "separator": 20.0 * ENDS,
    "local": 20.0 * (AHEAD.abs() <= 3),
    "broad": torch.zeros(LENGTH, LENGTH),
    "content": _content(),
}


def of_scores(scores: Tensor, **stages) -> qkv.AttentionMatrix:
    """A matrix `[B..., H, Lq, Lk]` of exactly these scores."""
    key = torch.eye(scores.shape[-1], dtype=scores.dtype)
    key = key.expand(*scores.shape[:-2], *key.shape)
    return qkv.attention(scores, key, score=qkv.Dot(1.0), **stages)
