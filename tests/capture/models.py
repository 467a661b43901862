"""Tiny models with random weights, made from their configurations, and what they are given."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

SIZES = {"vocab_size": 99, "hidden_size": 64, "intermediate_size": 96}
SIZES |= {"num_hidden_layers": 2, "num_attention_heads": 4}
IDS = torch.randint(1, 99, (2, 16), generator=torch.Generator().manual_seed(0))
REAL = torch.ones(2, 16, dtype=torch.int64)
REAL[1, 11:] = 0


@cache
def build(name: str, implementation: str = "sdpa") -> nn.Module:
    """A model of transformers in eval mode."""
    import transformers

    own: dict[str, Any] = {
        "Llama": {"num_key_value_heads": 2},
        "Mistral": {"num_key_value_heads": 2, "sliding_window": 8},
        "GptOss": {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 8},
        "Gemma2": {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 8},
        "T5": {
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
            "decoder_start_token_id": 0,
        },
    }.get(name, {})
    sizes = {"vocab_size": 99} if name == "T5" else SIZES
    ending = {"Bert": "Model", "T5": "ForConditionalGeneration"}.get(name, "ForCausalLM")
    config = getattr(transformers, f"{name}Config")(**{**sizes, **own})
    config._attn_implementation = implementation
    torch.manual_seed(1)
    return getattr(transformers, f"{name}{ending}")(config).eval()


def inputs(name: str, padded: bool = True) -> dict[str, Tensor]:
    """What a model is given: two sequences, one of them padded."""
    given = {"input_ids": IDS, "attention_mask": REAL if padded else torch.ones_like(REAL)}
    return {**given, "decoder_input_ids": IDS[:, :7]} if name == "T5" else given
