"""Tiny models of the architectures, built once each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from .architecture import Architecture
from .inputs import Inputs


def build(entry: Architecture, implementation: str | None = None) -> Any:
    """A new model in eval mode; the same weights whatever computes attention.

    Args:
        entry: the architecture.
        implementation: of attention, by its name in transformers; None leaves the choice to it.

    Raises:
        ValueError: from transformers, where the architecture refuses the implementation.
    """
    config = class_of(entry.config)(**deepcopy(dict(entry.sizes)))
    chosen = {} if implementation is None else {"attn_implementation": implementation}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = class_of(entry.model)._from_config(config, **chosen)
        for layer in model.modules():
            _enliven(layer)
    return model.eval()


def class_of(name: str) -> Any:
    """A class of transformers; importing is slow, so each module is when it is needed."""
    module, _, name = f"transformers.{name}".rpartition(".")
    return getattr(import_module(module), name)


@cache
def model_of(entry: Architecture, implementation: str | None = None) -> Any:
    """`build`, but the model is shared with all who ask for the same one."""
    return build(entry, implementation)


@torch.no_grad()
def _enliven(layer: nn.Module) -> None:
    """New weights, large enough that attention differs from a mean and biases from nothing."""
    for parameter in layer.parameters(recurse=False):
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        elif isinstance(layer, nn.Embedding):
            parameter.normal_(0, 0.5)
        else:
            inputs = parameter.shape[-1] if parameter.ndim == 3 else parameter[0].numel()
            parameter.normal_(0, inputs**-0.5)


def run(model: Any, inputs: Inputs, **options: Any) -> Any:
    """The model's output."""
    return model(**inputs.tensors, **options)


def found_in(
    value: Any, kinds: type | tuple[type, ...] = Tensor, path: str = ""
) -> Iterator[tuple[str, Any]]:
    """All tensors, or things of other kinds, in tuples and mappings, with where they lie."""
    if isinstance(value, kinds):
        yield path.removeprefix("."), value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from found_in(part, kinds, f"{path}.{name}")
    elif isinstance(value, tuple | list):
        for place, part in enumerate(value):
            yield from found_in(part, kinds, f"{path}.{place}")


def logits(entry: Architecture, implementation: str | None, inputs: Inputs) -> Tensor:
    """What is compared of the model's output: `entry.output`, without gradients."""
    with torch.no_grad():
        return getattr(run(model_of(entry, implementation), inputs), entry.output)


def generate(model: Any, inputs: Inputs, count: int = 4, cache: str = "dynamic") -> Tensor:
    """The tokens of the text as it stands after `count` more, chosen greedily: `[2, length]`.

    Args:
        model: that writes.
        inputs: the text so far, or what a decoder writes about.
        count: how many tokens.
        cache: `dynamic` or `static`.
    """
    options = {"cache_implementation": "static"} if cache == "static" else {}
    given = {name: x for name, x in inputs.tensors.items() if not name.startswith("decoder")}
    with torch.no_grad():
        return model.generate(
            **given,
            do_sample=False,
            num_beams=1,
            max_new_tokens=count,
            min_new_tokens=count,
            **options,
        )


def gradients(entry: Architecture, implementation: str | None, inputs: Inputs) -> dict[str, Tensor]:
    """The gradient of the squares' sum of what is compared, at its real places, of all parameters
    that it reaches."""
    model = model_of(entry, implementation)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    loss = inputs.real_places(getattr(run(model, inputs), entry.output)).square().sum()
    found = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    return {name: x for (name, _), x in zip(named, found, strict=True) if x is not None}
