"""A layer of a Transformer looks at a context where it has weights for one, and only there."""

from __future__ import annotations

import re

import pytest
import torch

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
