"""Positions of rows in their sequence, which attention does not see by itself."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..ground.tensors import check_integers, holds_integers, integer, shape_of
from ..stage.base import check_number, type_given
from .padding import check_floating, check_sequences
from .sizes import check_sizes

POSITIONS = ("sinusoidal", "rotary", "none")


class SinusoidalPositions(nn.Module):
    """Adds the sines and cosines of its position to each row, at wavelengths from 2π to 20000π.

    Nothing is learnt, and a sequence may have any length.

    Args:
        width: width of the rows, an even number.

    Raises:
        ValueError: `width` is no int >= 1, or odd.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.5.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        check_sizes("SinusoidalPositions", width=width)
        if width % 2:
            raise ValueError(f"SinusoidalPositions: width must be even; got {width}")
        self.width = width

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """`x` `[B..., L, width]` with positions `offset, offset + 1, ...` added to its rows.

        Raises:
            TypeError: `x` is no floating tensor, or `offset` no integer.
            ValueError: `x` has another shape.
        """
        check_sequences("SinusoidalPositions", "x", x, self.width)
        check_offset("SinusoidalPositions", offset)
        angles = _angles(x, self.width, offset, 10000.0)
        wave = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        return x + wave.to(x.dtype)


class LearntPositions(nn.Module):
    """Adds a learnt vector of its position to each row.

    Args:
        width: width of the rows.
        longest: the number of positions, and so the length of the longest sequence.

    Raises:
        ValueError: an argument is no int >= 1.

    Source: Gehring et al., "Convolutional Sequence to Sequence Learning" (2017), section 3.1.
    """

    def __init__(self, width: int, longest: int) -> None:
        super().__init__()
        check_sizes("LearntPositions", width=width, longest=longest)
        self.table = nn.Parameter(torch.empty(longest, width))
        nn.init.normal_(self.table, std=0.02)

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """`x` `[B..., L, width]` with positions `offset, offset + 1, ...` added to its rows.

        Raises:
            TypeError: `x` is no floating tensor, or `offset` no integer.
            ValueError: `x` has another shape, or a position is below 0 or not below `longest`.
        """
        check_sequences("LearntPositions", "x", x, self.table.shape[1])
        check_offset("LearntPositions", offset)
        if offset < 0:
            raise ValueError(f"LearntPositions: offset must be at least 0; got {offset}")
        end = offset + x.shape[-2]
        if end > self.table.shape[0]:
            raise ValueError(
                f"LearntPositions: positions must be less than longest ({self.table.shape[0]}); "
                f"got a sequence up to position {end - 1}"
            )
        return x + self.table[offset:end].to(x.dtype)


class Rotary(nn.Module):
    """Rotates query and key by angles that grow with their positions, so that their inner product
    depends on the distance between them. The first half of the width is paired with the second.

    Args:
        base: the wavelengths grow from 2π to nearly `2π * base` positions.

    Raises:
        TypeError: `base` is no number.
        ValueError: `base` is not positive and finite.

    Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021),
    section 3.2, with the pairs (d, d + D/2) instead of neighbours.
    """

    def __init__(self, base: float = 10000.0) -> None:
        super().__init__()
        check_number("Rotary: base", base, positive=True)
        self.base = base

    def forward(self, x: Tensor, offset: int | Tensor = 0) -> Tensor:
        """`x` `[B..., H, L, D]`, of even width D, rotated for positions `offset, offset + 1, ...`;
        the same shape. `offset` is an integer, or a tensor of one or of one for each entry of the
        first dimension.

        Raises:
            TypeError: `x` is no floating tensor, or `offset` holds no integers.
            ValueError: `x` or `offset` has another shape.
        """
        check_floating("Rotary", "x", x)
        if x.ndim < 2 or x.shape[-1] % 2:
            raise ValueError(f"Rotary: x must be [B..., L, D] with an even D; got {shape_of(x)}")
        if isinstance(offset, Tensor):
            offset = _offsets(x, offset)
        else:
            check_offset("Rotary", offset)
        angles = _angles(x, x.shape[-1], offset, self.base)
        cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)

    def extra_repr(self) -> str:
        return f"base={self.base}"


def check_offset(where: str, offset: object, what: str = "offset") -> None:
    """Checks that an offset is an integer; `where` and `what` begin the error.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(offset, torch.SymInt) and integer(offset) is None:
        raise TypeError(f"{where}: {what} must be an integer; got {type_given(offset)}")


def _offsets(x: Tensor, offset: Tensor) -> Tensor:
    """Offsets for the first dimension of `x`, as its rows are placed by them: `[..., 1]`."""
    if not holds_integers(offset):
        raise TypeError(f"Rotary: offset must hold integers; got {offset.dtype}")
    check_integers("Rotary: offset", offset)
    first = x.shape[0] if x.ndim > 2 else 1
    if offset.ndim > 1 or offset.numel() not in (1, first):
        raise ValueError(
            f"Rotary: offset must hold one integer per entry of the first dimension ({first}); "
            f"got {shape_of(offset)}"
        )
    return offset.to(x.device, torch.int64).reshape(-1, *(1,) * (x.ndim - 2))


def _angles(x: Tensor, width: int, offset: int | Tensor, base: float) -> Tensor:
    """`[L, width / 2]`, or `[B..., L, width / 2]` of offsets `[B..., 1]`, in float32, or float64
    for such an `x`: position / base^(2d / width)."""
    dtype = torch.float64 if x.dtype is torch.float64 else torch.float32
    if isinstance(offset, Tensor):
        position = (offset + torch.arange(x.shape[-2], device=x.device)).to(dtype)
    else:
        position = torch.arange(offset, offset + x.shape[-2], device=x.device, dtype=dtype)
    steps = torch.arange(0, width, 2, device=x.device, dtype=dtype) / width
    return position.unsqueeze(-1) * torch.exp(-math.log(base) * steps)


def positions_of(
    positions: str | nn.Module, width: int, where: str
) -> tuple[nn.Module | None, bool]:
    """The module that adds positions to rows of this width (None: none), and whether attention
    rotates queries and keys.

    `positions` is one of `POSITIONS`, or a module `(x, offset) -> x` such as `LearntPositions`.

    Raises:
        ValueError: `positions` is neither; the text begins with `where`.
    """
    if isinstance(positions, nn.Module):
        return positions, False
    if positions not in POSITIONS:
        known = ", ".join(POSITIONS)
        raise ValueError(
            f"{where}: positions must be a module or one of {known}; got {positions!r}"
        )
    added = SinusoidalPositions(width) if positions == "sinusoidal" else None
    return added, positions == "rotary"
