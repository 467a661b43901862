"""A ragged batch, and the law that it gives what its sequences give one by one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

LENGTHS = torch.tensor([7, 2, 4, 1])


def ragged(width: int, longest: int = 7) -> Tensor:
    """Sequences of `LENGTHS` with NaN behind their ends, `[4, longest, width]`, float64."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(len(LENGTHS), longest, width, generator=generator, dtype=torch.float64)
    for row, length in enumerate(LENGTHS.tolist()):
        x[row, length:] = torch.nan
    return x


def gradients(module: nn.Module, x: Tensor, loss: Tensor) -> list[Tensor]:
    """Of the input and of every parameter; each must take part."""
    module.zero_grad()
    x.grad = None
    loss.backward()
    still = [name for name, p in module.named_parameters() if p.grad is None]
    assert still == []
    assert x.grad is not None
    return [x.grad, *(p.grad.clone() for p in module.parameters() if p.grad is not None)]


def check_one_by_one(
    module: nn.Module, call: Callable[[Tensor, Tensor | None], Tensor], width: int, *, trim: bool
) -> None:
    """Outputs and gradients of a ragged batch equal those of its sequences alone, although there is
    NaN in its padding. With `trim` an output has a row for each row of the input, zero in padding.
    """
    x = ragged(width).requires_grad_()
    together = call(x, LENGTHS)
    assert together.isfinite().all()
    found = gradients(module, x, together.sin().sum())
    alone, losses = [], []
    y = x.detach().clone().requires_grad_()
    for row, length in enumerate(LENGTHS.tolist()):
        output = call(y[row : row + 1, :length], None)
        losses.append(output.sin().sum())
        if trim:
            assert not together[row, length:].any()
            output = nn.functional.pad(output, (0, 0, 0, x.shape[1] - length))
        alone.append(output)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-11)
    right = gradients(module, y, torch.stack(losses).sum())
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
