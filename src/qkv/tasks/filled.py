"""A model made for weights that there are already."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Model = TypeVar("Model", bound=nn.Module)
_MAKES = {torch.empty, torch.zeros, torch.ones}
_SPARE = 2**16  # numbers that a model may make for itself
_DRAWS = {
    *(Tensor.uniform_, Tensor.normal_),
    *(nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_, nn.init.kaiming_normal_),
}


class _Undrawn(TorchFunctionMode):
    """Nothing is drawn into the tensors of new layers, which takes longer than all else of making
    them. On torch's meta device nothing would be either, but a draw there loads torch's compiler,
    as does a dispatch mode.

    Layers that take many more numbers than there are weights are refused before they are made.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers, self.left = numbers, 2 * numbers + _SPARE

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        if func in _MAKES:
            size = args[0] if args and not isinstance(args[0], int) else args
            self.left -= prod(size or kwargs.get("size", ()))
            if self.left < 0:
                raise ValueError(
                    "model.safetensors does not fit config.json: the model must have about "
                    f"{self.numbers:,} weights; got more than twice as many"
                )
        return func(*args, **kwargs)


def filled(make: Callable[[], Model], weights: dict[str, Tensor]) -> Model:
    """The model that `make` makes, with these weights, which it then holds.

    Raises ValueError with the first weight that does not fit.
    """
    with _Undrawn(sum(weight.numel() for weight in weights.values())):
        model = make()
    own = model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        wanted, got = (_form(w[name]) if name in w else "absent" for w in (own, weights))
        if wanted != got:
            raise ValueError(
                f"model.safetensors does not fit config.json: {name} must be {wanted}; got {got}"
            )
    placed = {name: weight.to(own[name].device) for name, weight in weights.items()}
    model.load_state_dict(placed, assign=True)
    return model


def _form(weight: Tensor) -> str:
    """Shape, and type where it is not the usual one."""
    kind = "" if weight.is_floating_point() else f" of {weight.dtype}"
    return f"{list(weight.shape)}{kind}"
