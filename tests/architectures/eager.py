"""The weights of attention as transformers gives them: by its slow path, whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from .architecture import Architecture
from .inputs import Inputs
from .models import found_in, model_of, run


@dataclass(frozen=True)
class Weights:
    """The weights of one call.

    Args:
        module: path of the module that computed them, None where only the model returned them.
        weights: `[batch, heads, Lq, Lk]`, as they are returned.
        returned: path in the model's output, such as `decoder_attentions.0`, None where they are
            not handed out.
        asked: they are of a function that the model asked transformers for.
    """

    module: str | None
    weights: Tensor
    returned: str | None = None
    asked: bool = False


def eager_weights(entry: Architecture, inputs: Inputs, **options: Any) -> list[Weights]:
    """What the eager path computes, in its order, and what else it returns with
    `output_attentions`; `options` are other arguments of the model."""
    model = model_of(entry, "eager")
    with ExitStack() as stack:
        made = stack.enter_context(_made(model))
        first = stack.enter_context(_first(model))
        stack.enter_context(torch.no_grad())
        output = run(model, inputs, output_attentions=True, **options)
    returned = {}
    for path, tensor in found_in(output):
        field = path.split(".")[0]
        if "attentions" in path and field not in entry.mistaken:
            weights = tensor.softmax(-1) if field in entry.scores else tensor
            returned[id(tensor)] = Weights(first.get(id(tensor)) or None, weights, path)
    found = []
    for weights in made:
        other = returned.pop(id(weights.weights), None)
        found.append(weights if other is None else replace(weights, returned=other.returned))
    return [*found, *returned.values()]


@contextmanager
def _made(model: nn.Module) -> Iterator[list[Weights]]:
    """What attention functions return while a model runs, those that it gets from transformers."""
    from transformers import AttentionInterface

    names = {id(layer): name for name, layer in model.named_modules()}
    original = AttentionInterface.get_interface
    made: list[Weights] = []

    def get_interface(self: Any, *args: Any) -> Any:
        function = original(self, *args)

        def kept(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            output, weights = function(module, *args, **kwargs)
            made.append(Weights(names[id(module)], weights, asked=True))
            return output, weights

        return kept

    with mock.patch.object(AttentionInterface, "get_interface", get_interface):
        yield made


@contextmanager
def _first(model: nn.Module) -> Iterator[dict[int, str]]:
    """The path of the first module that returns a tensor, by the tensor's id."""
    first: dict[int, str] = {}
    kept = []  # so that no id is given twice

    def hook(name: str) -> Any:
        def remember(module: nn.Module, arguments: Any, output: Any) -> None:
            for _, tensor in found_in(output):
                kept.append(tensor)
                first.setdefault(id(tensor), name)

        return remember

    handles = [
        layer.register_forward_hook(hook(name))
        for name, layer in model.named_modules()
        if not isinstance(layer, nn.Dropout)  # in eval mode it returns what it is given
    ]
    try:
        yield first
    finally:
        for handle in handles:
            handle.remove()
