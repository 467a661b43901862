"""The functions of the package entmax, by normalizers of qkv."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import qkv

from .case import RefusedError


def weights(scores: Tensor, normalizer: Any, dim: int = -1, impl: str = "auto") -> Tensor:
    """The weights of scores along a dimension.

    Scores are a bias on queries and keys of zeros, a row of them a head of its own, so that alpha
    may differ from row to row.
    """
    rows = scores.movedim(dim, -1)
    flat = rows.reshape(-1, 1, rows.shape[-1])
    query, key = flat.new_zeros(len(flat), 1, 1), flat.new_zeros(len(flat), flat.shape[-1], 1)
    unit = torch.eye(flat.shape[-1], dtype=flat.dtype).expand(len(flat), -1, -1)
    output = qkv.attend(query, key, unit, bias=flat, normalizer=normalizer, impl=impl)
    return output.reshape(rows.shape).movedim(-1, dim)


def sparsemax(scores: Tensor, dim: int = -1, k: int | None = None, **options: Any) -> Tensor:
    return weights(scores, qkv.Sparsemax(), dim, **options)


def entmax15(scores: Tensor, dim: int = -1, k: int | None = None, **options: Any) -> Tensor:
    return weights(scores, qkv.Entmax15(), dim, **options)


def entmax_bisect(
    scores: Tensor, alpha: float | Tensor = 1.5, dim: int = -1, **options: Any
) -> Tensor:
    if isinstance(alpha, Tensor):
        alpha = alpha.movedim(dim, -1).reshape(-1) if alpha.ndim else alpha
    try:
        normalizer = qkv.Entmax(alpha)
    except ValueError:
        raise RefusedError("an alpha below 1: qkv has softmax (1) and what is sparser") from None
    return weights(scores, normalizer, dim, **options)


def along(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """A function in the place of a module: its dimension is said when it is made."""
    return lambda dim=-1, k=None: partial(function, dim=dim)


COUNTERPARTS: dict[str, Callable[..., Any]] = {
    "sparsemax": sparsemax,
    "sparsemax_bisect": sparsemax,
    "entmax15": entmax15,
    "entmax_bisect": entmax_bisect,
    "Sparsemax": along(sparsemax),
    "Entmax15": along(entmax15),
}
