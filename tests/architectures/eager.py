"""The weights of attention as transformers gives them: by its slow path, whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .architecture import Architecture
from .inputs import Inputs
from .models import model_of, run


@dataclass(frozen=True)
class Weights:
    """The weights of one call: where they were returned, and by which module.

    Args:
        returned: path in the model's output, such as `decoder_attentions.0`.
        module: path of the first module that returned them, or None where none but the model did.
        weights: `[batch, heads, Lq, Lk]`, as they were returned.
    """

    returned: str
    module: str | None
    weights: Tensor


def _tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in tuples and mappings, with where they lie."""
    if isinstance(value, Tensor):
        yield path.removeprefix("."), value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _tensors(part, f"{path}.{name}")
    elif isinstance(value, tuple | list):
        for place, part in enumerate(value):
            yield from _tensors(part, f"{path}.{place}")


def eager_weights(entry: Architecture, inputs: Inputs) -> list[Weights]:
    """The weights that the eager path returns with `output_attentions`, none where it has none."""
    model = model_of(entry, "eager")
    first: dict[int, str] = {}
    kept = []  # so that no number of an object is given twice

    def hook(name: str):
        def remember(module, arguments, output) -> None:
            for _, tensor in _tensors(output):
                kept.append(tensor)
                first.setdefault(id(tensor), name)

        return remember

    handles = [
        layer.register_forward_hook(hook(name))
        for name, layer in model.named_modules()
        if not isinstance(layer, nn.Dropout)  # in eval mode it returns what it is given
    ]
    try:
        with torch.no_grad():
            output = run(model, inputs, output_attentions=True)
    finally:
        for handle in handles:
            handle.remove()
    return [
        Weights(path, first.get(id(tensor)) or None, tensor)
        for path, tensor in _tensors(output)
        if "attentions" in path and path.split(".")[0] not in entry.mistaken
    ]
