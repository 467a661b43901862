"""An optimiser for matrices: momentum in which every direction counts alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# A round of the iteration takes each singular value s to a*s + b*s**3 + c*s**5; five rounds bring
# what is not tiny to between 0.7 and 1.2 (Jordan et al. 2024).
_ROUNDS, _LINEAR, _CUBIC, _QUINTIC = 5, 3.4445, -4.7750, 2.0315
_SIZE = 0.8  # root mean square of an update of rate 1, so that one rate serves beside AdamW


class Muon(torch.optim.Optimizer):
    """Steps along the momentum with all its singular values brought to about 1.

    A parameter is taken as a matrix, `[outputs, the rest]`. Torch's own takes no convolutions and
    always computes in bfloat16, which is slow on processors without instructions for it.

    Args:
        params: parameters of at least two dimensions, or groups of them.
        lr: the rate.
        momentum: the share of the momentum that is kept; Nesterov's.
        weight_decay: pull towards zero, per unit of rate, apart from the gradient.
        dtype: what singular values are brought to 1 in; default: the parameters' own type.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); an
    update's size: Liu et al., "Muon is Scalable for LLM Training" (2025), section 2.2.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step from the gradients that there are."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                mean = state["momentum"].lerp_(parameter.grad, 1 - momentum)
                followed = parameter.grad.lerp(mean, momentum).flatten(1)
                direction = orthogonal(followed, self.dtype).to(parameter.dtype)
                size = _SIZE * max(direction.shape) ** 0.5
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.sub_(direction.view(parameter.shape), alpha=rate * size)


def orthogonal(matrix: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """About `U @ V.mT` of a matrix `U @ S.diag() @ V.mT`, by a Newton-Schulz iteration in `dtype`
    (default: the matrix's own)."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
    wide = (wide / wide.norm().clamp(min=torch.finfo(wide.dtype).tiny)).to(dtype or wide.dtype)
    for _ in range(_ROUNDS):
        squares = wide @ wide.mT
        both = torch.addmm(squares, squares, squares, beta=_CUBIC, alpha=_QUINTIC)
        wide = torch.addmm(wide, both, wide, beta=_LINEAR)
    return (wide if matrix.shape[0] <= matrix.shape[1] else wide.mT).contiguous()
