"""Whether a module is one of attention, by what its author called it and its parts."""

from __future__ import annotations

import re

from torch import nn

# Words in the names of projections, as in to_q, W_key or c_qkv.
_QUERY = {"q", "wq", "query", "queries", "qk", "qkv", "wqkv", "kqv"}
_KEY = {"k", "wk", "key", "keys", "kv", "wkv", "qk", "qkv", "wqkv", "kqv"}


def projects(module: nn.Module) -> bool:
    """Whether it has projections of queries and of keys."""
    parts = (*module.named_children(), *module.named_parameters(recurse=False))
    words = {word for name, _ in parts for word in re.split("[^a-z]+", name.lower())}
    return bool(words & _QUERY) and bool(words & _KEY)


def is_attention(module: nn.Module) -> bool:
    """Whether its class is called attention, or it projects queries and keys."""
    return "attention" in type(module).__name__.lower() or projects(module)
