"""Models of Hugging Face transformers that ask `AttentionInterface` for their attention function.

The method is replaced on the class: instances of their own are seen as well, and every
implementation stays the one that the model has chosen.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

from torch import Tensor, nn

from ...ground.replaced import Patch
from ...masks.base import Mask
from ...matrix.matrix import AttentionMatrix
from ..arrival import Arrival, UnseenError
from ..patches import emptied, followed, shortened, watched
from ..sighting import Sighting
from .torch_functions import of_output

_CHANGES = {
    "reorder_cache": followed,
    "batch_select_indices": followed,
    "crop": shortened,
    "reset": emptied,
}
_FIRST = ("module", "query", "key", "value", "attention_mask")


def patches() -> list[Patch]:
    """Nothing where transformers is not in use."""
    modeling = sys.modules.get("transformers.modeling_utils")
    interface = getattr(modeling, "AttentionInterface", None)
    if interface is None:
        return []
    return [Patch(interface, "get_interface", _wrap, everywhere=False), *_of_caches()]


def _of_caches() -> Iterator[Patch]:
    """The methods of all classes of caches that move their rows about, as beam search does, and
    that take back what was guessed."""
    utilities = sys.modules.get("transformers.cache_utils")
    classes = [utilities.Cache] if utilities is not None else []
    for kind in classes:
        classes += [own for own in kind.__subclasses__() if own not in classes]
        for name, wrap in _CHANGES.items():
            if name in vars(kind):
                yield Patch(kind, name, wrap, everywhere=False)


def _wrap(original: Callable[..., Any]) -> Callable[..., Any]:
    seen: dict[tuple[Any, str, bool], Callable[..., Any]] = {}

    def get_interface(self: Any, attn_implementation: str, default: Any) -> Any:
        function = original(self, attn_implementation, default)
        own = function is default
        key = function, str(attn_implementation), own
        if key not in seen:
            name = f"transformers: {'eager' if own else attn_implementation}"
            seen[key] = watched(function, partial(_describe, function, name, own))
        return seen[key]

    return get_interface


@lru_cache(maxsize=1024)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _describe(
    function: Any, name: str, own: bool, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Sighting:
    """`own`: the function is the model's own, which it calls `eager`."""
    given = {**dict(zip(_parameters(function), args, strict=False)), **kwargs}
    return Sighting(
        name,
        lambda _: _arrival(function, own, given),
        partial(_residual, output),
        module=given.get("module", args[0] if args else None),
    )


def _residual(
    output: Any, arrival: Arrival, matrix: AttentionMatrix, heads: list[int] | None
) -> float | None:
    result = output[0] if isinstance(output, tuple) else output
    if not isinstance(result, Tensor):
        return None
    return of_output(result.transpose(-3, -2), arrival, matrix, heads)


def _arrival(function: Any, own: bool, given: dict[str, Any]) -> Arrival:
    """What a call says depends on who is asked: keywords that a function has no name for are lost
    in it, and causality is a keyword, an attribute or in the mask."""
    module, query, key, value, mask = (given.get(name) for name in _FIRST)
    assert isinstance(module, nn.Module)
    assert isinstance(query, Tensor)
    assert isinstance(key, Tensor)
    name, named = getattr(function, "__name__", ""), _parameters(function)
    if "paged" in name:
        raise UnseenError("pages of a cache are not told apart yet")
    offset, window = None, None
    if mask is not None and not isinstance(mask, Tensor | Mask):
        mask, offset = _told(mask, query.shape[-2], key.shape[-2])
    flash, sdpa = "flash" in name, name == "sdpa_attention_forward"
    causal = given.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if isinstance(mask, Tensor) and mask.ndim == 2:  # flash attention is told of padding alone
        mask = mask[:, None, None, :].bool()
    dense = isinstance(mask, Mask) or (isinstance(mask, Tensor) and mask.shape[-2] > 1)
    causal = bool(causal) and not own and not dense and query.shape[-2] > 1
    if flash:
        offset = key.shape[-2] - query.shape[-2]
        window = _window(given.get("sliding_window"), causal)
    elif causal and mask is None:
        offset = 0  # aligned to the start: what follows in a static cache is not filled yet
    else:
        causal = False
    softcap = given.get("softcap") if not own or "softcap" in named else None
    sink = given.get("s_aux") if not sdpa else None
    if own and sink is not None and "s_aux" not in named and not hasattr(module, "sinks"):
        sink = None
    dropout = float(given.get("dropout") or 0.0)
    return Arrival(
        query,
        key,
        value if isinstance(value, Tensor) else None,
        mask=mask,
        is_causal=causal,
        scale=given.get("scaling"),
        softcap=softcap,
        sink=sink,
        window=window,
        bias=given.get("position_bias"),
        query_offset=offset,
        dropout=dropout if module.training or not own else 0.0,
    )


def _window(size: int | None, causal: bool) -> tuple[int | None, int | None] | None:
    return None if size is None else (size - 1, 0 if causal else size - 1)


def _told(mask: Any, queries: int, keys: int) -> tuple[Mask | None, int | Tensor | None]:
    """What an object in a mask's place says, and where its first query stands; those of qkv's own
    implementation say it."""
    if not hasattr(mask, "fitting"):
        raise UnseenError(f"its mask is a {type(mask).__name__}, which no one here can read")
    own = mask.fitting(queries, keys)
    return own.mask, own.offset
