"""What transformers calls where it wants a mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import masking_utils as theirs

from ...ground.tensors import is_concrete
from .mask import LazyMask
from .rules import MaskFunction, Place


def lazy_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: MaskFunction = theirs.causal_mask_function,
    attention_mask: Tensor | LazyMask | None = None,
    dtype: torch.dtype = torch.float32,
    config: Any = None,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **options: Any,
) -> LazyMask:
    """Stands where transformers builds its masks: keeps what it is told and builds nothing.

    Whether it might leave the mask out (`allow_is_causal_skip` and the like) does not matter: the
    description costs nothing, and says for sure what the attention function would have to guess.
    """
    if isinstance(attention_mask, LazyMask):
        return attention_mask
    if isinstance(
        q_offset, Tensor
    ):  # a static cache's count, which goes on before the mask is read
        q_offset = int(q_offset) if is_concrete(q_offset) else q_offset.clone()
    real = theirs.prepare_padding_mask(attention_mask, kv_length, kv_offset)
    place = Place(batch_size, q_length, kv_length, q_offset, kv_offset, torch.device(device))
    model = getattr(config, "model_type", "") or "the model"
    return LazyMask(place, mask_function, real, dtype, use_vmap, model)
