"""A layer of a Transformer: the context that it looks at, and adapters of its linear maps."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from qkv.nn import TransformerLayer

X = torch.zeros(2, 3, 8)
ALONE = "context must be left out for a layer without context_width; got Tensor"
LOOKING = "context must be given to a layer with context_width; got None"


@pytest.mark.parametrize(
    ("width", "context", "text"), [(None, X, ALONE), (8, None, LOOKING), (6, None, LOOKING)]
)
@pytest.mark.parametrize("call", ["forward", "context_matrix"])
def test_a_context_that_it_cannot_use_or_lacks_is_refused(width, context, text, call) -> None:
    layer = TransformerLayer(8, 2, context_width=width)
    with pytest.raises(ValueError, match=f"^{re.escape(f'TransformerLayer: {text}')}$"):
        getattr(layer, call)(X, context)


class Adapted(nn.Module):
    """As adapters are: another map than the linear one, with its `weight` and `bias`."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base
        self.weight, self.bias = base.weight, base.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -2 * self.base(x)


@pytest.mark.parametrize("training", [True, False])
def test_an_adapter_of_any_linear_map_is_called(training) -> None:
    torch.manual_seed(0)
    layer = TransformerLayer(8, 2, context_width=8).train(training)
    x, context = torch.randn(2, 2, 3, 8)
    maps = [name for name, module in layer.named_modules() if isinstance(module, nn.Linear)]
    assert len(maps) == 10  # two attentions of four, and the feedforward's two
    with torch.no_grad():
        before = layer(x, context)
        for name in maps:
            base = layer.get_submodule(name)
            layer.set_submodule(name, Adapted(base))
            assert not torch.allclose(layer(x, context), before, atol=1e-2), name
            layer.set_submodule(name, base)
