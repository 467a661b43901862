"""Ragged batches: which rows are real, and how the others are kept out.

A mask keeps padding out of attention itself. But the gradient of a weight is a sum over all input
rows, and `0 * NaN` is NaN, so every layer replaces padding in its input by zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..ground.tensors import check_floats, check_integers, holds_integers


def check_sequences(where: str, what: str, x: Tensor, width: int) -> None:
    """Checks that `x` is a floating tensor `[B..., L, width]`; `where` and `what` begin errors.

    Raises:
        TypeError: it is no floating tensor.
        ValueError: it has another shape.
    """
    check_floating(where, what, x)
    if x.ndim < 2 or x.shape[-1] != width:
        raise ValueError(f"{where}: {what} must be [B..., L, {width}]; got {list(x.shape)}")


def check_floating(where: str, what: str, x: object) -> None:
    """Checks that `x` is a floating tensor.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{where}: {what} must be a floating tensor; got {got}")
    check_floats(f"{where}: {what}", x)


def check_lengths(where: str, lengths: Tensor | None, x: Tensor) -> None:
    """Checks that `lengths` are integers `[B]`, or one for all, for sequences `x` `[B..., L, D]`.

    Raises:
        TypeError: they are no integer tensor.
        ValueError: they have another shape.
    """
    if lengths is None:
        return
    if not isinstance(lengths, Tensor) or not holds_integers(lengths):
        got = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        raise TypeError(f"{where}: lengths must be an integer tensor; got {got}")
    check_integers(f"{where}: lengths", lengths)
    batch = x.shape[0] if x.ndim > 2 else 1
    if lengths.ndim > 1 or lengths.numel() not in (1, batch):
        raise ValueError(
            f"{where}: lengths must have one entry per first batch dimension ({batch}); "
            f"got {list(lengths.shape)}"
        )


def real_ends(x: Tensor, lengths: Tensor) -> Tensor:
    """int64, shaped as `lengths`: how many rows of `x` `[B..., L, width]` are real, 0 to L."""
    return lengths.to(torch.int64).clamp(0, x.shape[-2])


def real_rows(x: Tensor, lengths: Tensor, places: Tensor | None = None) -> Tensor:
    """bool `[B, 1..., L, 1]`: True where a row of `x` `[B..., L, width]` is no padding. `places`
    `[L]` are those of the rows in their sequence; default: from its beginning on."""
    if places is None:
        places = torch.arange(x.shape[-2], device=x.device)
    ends = lengths.to(torch.int64).reshape(-1, *(1,) * max(1, x.ndim - 1))
    return places.unsqueeze(-1) < ends


def without_padding(x: Tensor, lengths: Tensor | None, places: Tensor | None = None) -> Tensor:
    """`x` `[B..., L, width]` with zeros where it is padding, whatever stands there. `places` as for
    `real_rows`."""
    return x if lengths is None else torch.where(real_rows(x, lengths, places), x, 0)


def mean_of_real(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The mean of the real rows of `x` `[B, L, width]`: `[B, width]`, zero if there are none."""
    if lengths is None:
        return x.mean(1) if x.shape[1] else x.sum(1)
    count = real_ends(x, lengths).reshape(-1, 1).clamp(min=1)
    return without_padding(x, lengths).sum(1) / count


def without_rows_of_padding(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The real rows of `x` `[B, L, width]`, all sequences one after the other, `[1, rows, width]`,
    and where each stands among the B * L rows, `[rows]`."""
    places = real_rows(x, lengths).expand(*x.shape[:-1], 1).flatten().nonzero().squeeze(-1)
    return x.flatten(0, 1).index_select(0, places).unsqueeze(0), places


def with_rows_of_padding(rows: Tensor, places: Tensor, batch: int, longest: int) -> Tensor:
    """Such rows `[1, rows, width]` at their places, and zeros in padding: `[B, L, width]`."""
    padded = rows.new_zeros(batch * longest, rows.shape[-1])
    return padded.index_copy(0, places, rows[0]).unflatten(0, (batch, longest))
