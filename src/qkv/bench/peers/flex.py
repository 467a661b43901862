"""torch's FlexAttention, compiled. On CPUs it has no backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from qkv.bench.work import Contender, Inputs

NAME = "FlexAttention"


def flex(inputs: Inputs, score: Any = None, visible: Any = None) -> Contender:
    """Forward, with a function of scores or one of what is visible, both over
    (batch, head, row, column)."""
    query, key, value = inputs.query, inputs.key, inputs.value

    def prepare() -> Callable[[], Tensor]:
        function: Any = torch.compile(flex_attention, dynamic=False)
        blocks = None
        if visible is not None:
            sizes = query.shape[-2], key.shape[-2]
            blocks = create_block_mask(visible, None, None, *sizes, device=query.device.type)
        return lambda: function(query, key, value, score_mod=score, block_mask=blocks)

    return Contender(NAME, prepare, compiled=True)
