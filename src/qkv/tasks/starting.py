"""Training that starts from a trained model: what is taken of it, and what may be told anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from torch import nn

T = TypeVar("T")

_FREE = ("dropout", "token_dropout")  # no weight depends on them
_OUTPUT = "output."


def sizes_of(config: Any, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes and choices in a trained model's `config`, with the dropout that is told in
    `sizes`.

    Raises ValueError where anything else that is told in `sizes` is not the model's.
    """
    own = {
        one.name: getattr(config, one.name)
        for one in fields(config)
        if one.default is not MISSING  # tokens, labels, pixels: those of the data
    }
    for name, value in sizes.items():
        if name not in _FREE and value != own.get(name):
            raise ValueError(
                f"train: {name} must be that of the model to start from, {own.get(name)!r}; "
                f"got {value!r}"
            )
    return own | dict(sizes)


def unless_told(value: T | None, trained: Any, name: str, default: T) -> T:
    """The value that is told; where it is None what the `trained` model has by this name, or the
    default where there is no such model."""
    if value is not None:
        return value
    return default if trained is None else getattr(trained, name)


def require_untold(options: Any, *names: str) -> None:
    """Raise ValueError where an option that makes tokens is told: a trained model has its own."""
    for name in names:
        if (value := getattr(options, name)) is not None:
            raise ValueError(
                f"train: {name} has no meaning with start_from: the tokens are the model's; "
                f"got {value!r}"
            )


def take_over(model: nn.Module, trained: nn.Module, *, output: bool = True) -> None:
    """Give a model the weights of a trained one of the same sizes. Without `output` its output
    layer stays as it is, for labels that the trained one does not know."""
    weights = trained.state_dict()
    if not output:
        weights |= {k: w for k, w in model.state_dict().items() if k.startswith(_OUTPUT)}
    model.load_state_dict(weights)
