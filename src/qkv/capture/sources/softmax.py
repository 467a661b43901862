"""Models that take the softmax of their scores by hand.

The scores are there already, so they are kept as they are: as the bias of queries and keys of width
0. Which softmax is one of attention is told by shapes and by the module, which is called attention,
has a number of heads, or projects queries and keys: the last three dimensions of the scores are its
heads, queries and keys, or heads and batch are one dimension, or there are queries and keys alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...ground.replaced import Patch
from ...matrix.matrix import AttentionMatrix
from .. import residual
from ..arrival import Arrival, UnseenError
from ..attending import projects
from ..frames import Caller
from ..patches import watched
from ..sighting import Sighting, UnrelatedError

_HEADS = (
    *("num_heads", "num_attention_heads", "n_heads", "n_head", "num_attn_heads", "nhead", "heads"),
    "num_head",
)


def patches() -> list[Patch]:
    """Softmax as a function and as a method, and the sum that one is made of by hand."""
    return [
        Patch(F, "softmax", partial(_watched, "F.softmax")),
        Patch(torch, "softmax", partial(_watched, "torch.softmax")),
        Patch(torch.special, "softmax", partial(_watched, "torch.special.softmax")),
        Patch(torch.Tensor, "softmax", partial(_watched, "Tensor.softmax"), everywhere=False),
        Patch(torch, "logsumexp", partial(_watched_sum, "torch.logsumexp")),
        Patch(torch.Tensor, "logsumexp", partial(_watched_sum, "Tensor.logsumexp"), False),
    ]


def _watched(name: str, original: Any) -> Any:
    def describe(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Sighting | None:
        scores = _over_keys(args, kwargs)
        if scores is None:
            return None
        return Sighting(
            name, partial(_arrival, scores), partial(_residual, output), materialised=True
        )

    return watched(original, describe)


def _watched_sum(name: str, original: Any) -> Any:
    """Scores less this are the logarithms of weights, so who keeps its dimension makes some."""

    def describe(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Sighting | None:
        scores = _over_keys(args, kwargs)
        if scores is None or not (args[2] if len(args) > 2 else kwargs.get("keepdim", False)):
            return None
        return Sighting(name, partial(_unseen, scores), lambda *_: None, materialised=True)

    return watched(original, describe)


def _over_keys(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The scores of a call over their last dimension, where they may be those of attention."""
    scores = args[0] if args else kwargs.get("input")
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    if not isinstance(scores, Tensor) or not isinstance(dim, int):
        return None
    if scores.ndim < 2 or dim % scores.ndim != scores.ndim - 1 or scores.is_nested:
        return None
    return scores


def _unseen(scores: Tensor, caller: Caller) -> Arrival:
    _shape(scores, caller)
    raise UnseenError("whether its weights are the exponentials of scores less this is not seen")


def _residual(
    output: Tensor, arrival: Arrival, matrix: AttentionMatrix, heads: list[int] | None
) -> float | None:
    assert arrival.bias is not None
    own = output.reshape(*arrival.bias.shape[:-3], -1, *output.shape[-2:])
    return residual.of_weights(matrix, own if heads is None else own[..., heads, :, :])


def _arrival(scores: Tensor, caller: Caller) -> Arrival:
    *lead, queries, keys = shape = _shape(scores, caller)
    nothing = scores.new_empty(*lead, queries, 0), scores.new_empty(*lead, keys, 0)
    return Arrival(*nothing, bias=scores.detach().reshape(shape))


def _shape(scores: Tensor, caller: Caller) -> tuple[int, ...]:
    """`[B..., H, Lq, Lk]`."""
    *lead, queries, keys = scores.shape
    told = caller.arguments.get("num_heads")
    heads = told if isinstance(told, int) else _heads_of(caller.module)
    projecting = projects(caller.module)
    named = projecting or "att" in type(caller.module).__name__.lower()
    if (not named and heads is None) or (not lead and not projecting):
        raise UnrelatedError
    if not lead:
        fit, lead = heads in (None, 1), [1]
    elif len(lead) == 1:
        heads = 1 if heads is None else heads
        fit, lead = lead[0] % heads == 0, [lead[0] // heads, heads]
    else:
        fit = heads is None or lead[-1] == heads
    if not fit and not named:
        raise UnrelatedError
    if not fit:
        _refuse(scores, f"queries by keys of its {heads} heads")
    places = _places(caller.arguments)
    if places is not None and (queries != places or (keys < places and not caller.looks_elsewhere)):
        _refuse(scores, f"the {places} places of its input by its keys")
    return (*lead, queries, keys)


def _refuse(scores: Tensor, wanted: str) -> NoReturn:
    raise UnseenError(f"a softmax over {list(scores.shape)}, which are not {wanted}")


def _heads_of(module: nn.Module) -> int | None:
    for holder in (module, getattr(module, "config", None)):
        for name in _HEADS:
            number = getattr(holder, name, None)
            if isinstance(number, int) and number > 0:
                return number
    return None


def _places(arguments: Mapping[str, Any]) -> int | None:
    """The length of what a module of transformers is given."""
    states = arguments.get("hidden_states")
    return states.shape[1] if isinstance(states, Tensor) and states.ndim == 3 else None
