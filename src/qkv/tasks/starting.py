"""Training that starts from a trained model: what is taken of it, and what may be told anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from torch import nn

_FREE = ("dropout", "token_dropout")  # no weight depends on them
_OUTPUT = "output."


def sizes_of(config: Any, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes and choices in a trained model's `config`, but for its dropout, for which `sizes`
    is asked first.

    Raises ValueError where `sizes` has another value that is no default either.
    """
    values = {}
    for one in fields(config):
        if one.default is MISSING:  # tokens, labels, pixels: those of the data
            continue
        own = getattr(config, one.name)
        value = sizes.get(one.name, own)
        if one.name in _FREE:
            values[one.name] = value
        elif value in (own, one.default):
            values[one.name] = own
        else:
            raise ValueError(
                f"train: {one.name} must be that of the model to start from, {own!r}; got {value!r}"
            )
    return values


def require_defaults(options: Any, *names: str) -> None:
    """Raise ValueError where an option that makes tokens is given: a trained model has its own."""
    defaults = {one.name: one.default for one in fields(options)}
    for name in names:
        if (value := getattr(options, name)) != defaults[name]:
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
