"""What cannot be served is refused, with the reason, before it could run wrong."""

from __future__ import annotations

import inspect
import re
import sys
from functools import wraps
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ...ground.errors import UnsupportedError

_KEYWORDS = {
    "indices": "which keys each query may see",
    "block_indices": "which blocks of keys each query may see",
    "sinks": "a sink for each query",
}
_TABLE = re.compile(r"[A-Z]_CLASSES\[(?:self\.)?config\._attn_implementation\]")
_taught: set[str] = set()


def refuse_keywords(module: nn.Module, keywords: dict[str, Any]) -> None:
    """Raises where a call says something about the weights that would be left out."""
    for name, meaning in _KEYWORDS.items():
        if keywords.get(name) is not None:
            raise UnsupportedError(
                f"qkv: {type(module).__name__} says {meaning} by the keyword {name!r}, which this "
                'attention function does not know; load the model with "eager"'
            )


def refuse_model(kind: type, name: str, built: bool) -> None:
    """Raises where a class of model computes its attention by itself, whatever name it is given.

    transformers' own test reads the source: a module that has classes of attention, none of which
    asks for the implementation by name. Such a model takes a name from its config without a word,
    and the mask that is built for this name is then not the one that it knows.

    Args:
        kind: the class of the model, or of a part that is a model itself.
        name: of the implementation.
        built: whether the model is there already, and has chosen its classes of attention.
    """
    for parent in kind.__mro__[: kind.__mro__.index(PreTrainedModel)]:
        if not issubclass(parent, PreTrainedModel):
            continue
        if not parent._can_set_attn_implementation():
            raise UnsupportedError(
                f"qkv: {parent.__name__} computes its attention by itself and never calls the "
                f'function that "{name}" names; load it with "eager". Where it is a part of a '
                f'larger model, name its config: attn_implementation={{"": "{name}", '
                '"text_config": "eager"}'
            )
        if not built and _TABLE.search(_source(parent)):
            raise UnsupportedError(
                f"qkv: {parent.__name__} is in a module that chooses classes of attention from a "
                f"table of its own, which has no {name!r}; load the model without the name, and "
                f"call set_attn_implementation({name!r}) for its other parts"
            )


def _source(kind: type) -> str:
    try:
        return inspect.getsource(sys.modules[kind.__module__])
    except (KeyError, OSError, TypeError):  # typed in, or frozen
        return ""


def teach(name: str) -> None:
    """transformers asks the class of a model whether it takes an implementation, when the model is
    made and in `set_attn_implementation`: from now on it asks about this one as well."""
    if name in _taught:
        return
    _taught.add(name)
    find, choose = (
        PreTrainedModel.get_correct_attn_implementation,
        PreTrainedModel.set_attn_implementation,
    )

    @wraps(find)
    def get_correct_attn_implementation(
        self: Any, requested_attention: str | None, is_init_check: bool = False
    ) -> str:
        found = find(self, requested_attention, is_init_check)
        if found == name:
            refuse_model(type(self), name, not is_init_check)
        return found

    @wraps(choose)
    def set_attn_implementation(
        self: Any, attn_implementation: str | dict, *args: Any, **kwargs: Any
    ) -> None:
        # Of a model that does not ask for a name, transformers says so in its log and goes on.
        if attn_implementation == name:
            refuse_model(type(self), name, True)
        choose(self, attn_implementation, *args, **kwargs)

    PreTrainedModel.get_correct_attn_implementation = get_correct_attn_implementation
    PreTrainedModel.set_attn_implementation = set_attn_implementation
