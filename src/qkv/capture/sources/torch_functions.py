"""`torch.nn.functional.scaled_dot_product_attention`, wherever it is called.

`nn.MultiheadAttention` calls it as well, unless it takes its fast path or is asked for weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ...ground.replaced import Patch
from ...matrix.matrix import AttentionMatrix
from ...matrix.scaled_dot_product import causal_offset
from .. import residual
from ..arrival import Arrival, UnseenError
from ..patches import watched
from ..sighting import Sighting
from ..some_heads import heads_of

NAME = "F.scaled_dot_product_attention"
_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def patches() -> list[Patch]:
    """The function, under all its names."""
    name = "scaled_dot_product_attention"
    return [Patch(F, name, lambda original: watched(original, _describe))]


def _describe(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Sighting:
    given = {**dict(zip(_ARGUMENTS, args, strict=False)), **kwargs}
    return Sighting(NAME, lambda _: _arrival(given), partial(of_output, output))


def of_output(
    output: Tensor, arrival: Arrival, matrix: AttentionMatrix, heads: list[int] | None
) -> float | None:
    """The residual of a call whose output is `[B..., H, Lq, Dv]`."""
    if arrival.value is None or arrival.dropout:
        return None
    own = output if heads is None else heads_of(output, heads)
    return residual.of_output(matrix, arrival.value, own)


def _arrival(given: dict[str, Any]) -> Arrival:
    query, key, mask = given["query"], given["key"], given.get("attn_mask")
    if query.is_nested or key.is_nested:
        raise UnseenError("its tensors are nested")
    if min(query.ndim, key.ndim) > 2 and query.shape[-3] == 1:  # it asks all heads of the keys
        query = query.expand(*query.shape[:-3], key.shape[-3], *query.shape[-2:])
    causal, offset = bool(given.get("is_causal", False)), causal_offset(mask, query, key)
    if offset is not None:
        causal, mask = True, None
    elif causal:
        offset = 0  # aligned to the start, as torch does it
    return Arrival(
        query,
        key,
        given["value"],
        mask=mask,
        is_causal=causal,
        scale=given.get("scale"),
        query_offset=offset,
        dropout=float(given.get("dropout_p", 0.0)),
    )
