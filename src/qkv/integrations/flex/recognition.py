"""What of a mod is recognised, where its expression may be looked at."""

from __future__ import annotations

from torch import Tensor

from ...ground.tensors import accumulation_dtype, inside_transform, is_concrete
from ...masks.base import Mask
from .expression import expression_of
from .linear import LONGEST
from .masks import ALL, Sizes, both, mask_of
from .mods import Mod
from .scores import Stages, stages_of


def recognised_mask(mod: Mod, query: Tensor, key: Tensor) -> tuple[Mask, bool]:
    """A mask that shows all that a mask_mod shows, and whether it shows nothing else."""
    sizes = _sizes(query, key)
    node = None if sizes is None else expression_of(mod, query.device)
    if sizes is None or node is None:
        return ALL, False
    return mask_of(node, sizes)


def recognised_stages(mod: Mod, query: Tensor, key: Tensor) -> Stages:
    """The stages that a score_mod is."""
    sizes, wide = _sizes(query, key), accumulation_dtype(query.dtype)
    node = None if sizes is None else expression_of(mod, query.device, wide)
    if sizes is None or node is None:
        return Stages(ALL, biases=None)
    return stages_of(node, sizes, wide)


def _sizes(query: Tensor, key: Tensor) -> Sizes | None:
    """The sizes of a matrix whose mods may be looked at."""
    if inside_transform() or not is_concrete(query, key):
        return None
    batch, heads, queries, _ = query.shape
    keys = key.shape[-2]
    if max(queries, keys) > LONGEST:
        return None
    return Sizes(max(batch, key.shape[0]), heads, queries, keys, query.device)


def common(left: Mask | None, right: Mask | None) -> Mask | None:
    """What both show; None is everything."""
    shown = both(left or ALL, right or ALL)
    return None if shown == ALL else shown
