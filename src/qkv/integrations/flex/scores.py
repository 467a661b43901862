"""Stages that are recognised in the expression of a score_mod."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ...biases.base import Bias
from ...biases.softcap import SoftCap
from ...biases.tensor import TensorBias
from ...masks.base import Mask
from .distances import DistanceTable
from .expression import KEY, QUERY, SCORE, Node, number_of, values_of
from .linear import depends_on_distance
from .masks import ALL, Sizes, both, lookup_of_cells, mask_of

_LARGE = 64  # beyond it a number that is added takes digits off a score


@dataclass(frozen=True)
class Stages:
    """What a score_mod does: `scale` multiplies the scores, then `biases` change them. They are
    None where they are not recognised, and then the mask shows all that the mod may show."""

    mask: Mask
    scale: float = 1.0
    biases: tuple[Bias, ...] | None = ()


def stages_of(node: Node, sizes: Sizes, wide: torch.dtype) -> Stages:
    """The stages that an expression is, for scores of a dtype."""
    shown: Mask = ALL
    body: Any = node
    exact = True
    while (found := _hidden(body)) is not None:
        body, condition, sees = found
        mask, same = mask_of(condition, sizes) if sees else _of_opposite(condition, sizes)
        shown, exact = both(shown, mask), exact and same
    found = _body(body, sizes, wide) if exact else None
    return Stages(shown, biases=None) if found is None else replace(found, mask=shown)


def _of_opposite(condition: Node, sizes: Sizes) -> tuple[Mask, bool]:
    """The mask that shows where a condition is false."""
    inverse = Node(torch.bool, "", torch.ops.aten.logical_not.default, (condition,))
    return mask_of(inverse, sizes)


def _hidden(node: Any) -> tuple[Any, Node, bool] | None:
    """A value that is -inf in some cells: the value in the others, a condition, and whether the
    others are where it is true."""
    if not isinstance(node, Node):
        return None
    if node.kind == "where" and len(node.arguments) == 3:
        condition, first, second = node.arguments
    elif node.kind == "masked_fill":
        second, condition, first = node.arguments
    else:
        return None
    if not isinstance(condition, Node):
        return None
    if number_of(second) == -torch.inf:
        return first, condition, True
    return (second, condition, False) if number_of(first) == -torch.inf else None


def _body(node: Any, sizes: Sizes, wide: torch.dtype) -> Stages | None:
    """The stages of what is done with a score that is not hidden."""
    if not isinstance(node, Node) or not node.depends_on(SCORE):
        return None
    if node.name == SCORE:
        return Stages(ALL)
    if node.kind in ("mul", "div"):
        return _capped(node, sizes, wide) or _scaled(node, sizes, wide)
    if node.kind not in ("add", "sub") or node.keywords:
        return None
    first, second = node.arguments
    if node.kind == "add" and not _has_score(first):
        first, second = second, first
    before = _body(first, sizes, wide)
    if before is None or before.biases is None or _has_score(second):
        return None
    added = _added(second, -1 if node.kind == "sub" else 1, sizes, wide)
    if added is None:
        return None
    biases = (*before.biases, *added)
    exact = node.dtype == wide or _may_be_added_in_turn(biases)
    return replace(before, biases=biases) if exact else None


def _has_score(thing: Any) -> bool:
    return isinstance(thing, Node) and thing.depends_on(SCORE)


def _factor(node: Node) -> tuple[Any, float] | None:
    """What is multiplied by a number, and the number."""
    if node.keywords:
        return None
    first, second = node.arguments
    number = number_of(second)
    if node.kind == "div":
        return (first, 1 / number) if number else None
    if number is None:
        first, number = second, number_of(first)
    return None if number is None else (first, float(number))


def _scaled(node: Node, sizes: Sizes, wide: torch.dtype) -> Stages | None:
    found = _factor(node)
    before = None if found is None else _body(found[0], sizes, wide)
    if found is None or before is None or before.biases:
        return None
    scale = before.scale * found[1]
    return replace(before, scale=scale) if isfinite(scale) else None


def _capped(node: Node, sizes: Sizes, wide: torch.dtype) -> Stages | None:
    """`limit * tanh(score / limit)`, of scores without biases: of others some may be hidden, which
    a tanh would bring back."""
    outer = _factor(node)
    if outer is None or not isinstance(outer[0], Node) or outer[0].kind != "tanh":
        return None
    (bent,), limit = outer[0].arguments, outer[1]
    inner = _factor(bent) if isinstance(bent, Node) and bent.kind in ("mul", "div") else None
    if inner is None or limit <= 0 or not abs(inner[1] * limit - 1) <= 1e-15:
        return None
    before = _body(inner[0], sizes, wide)
    if before is None or before.biases:
        return None
    return replace(before, biases=(SoftCap(limit),))


def _added(thing: Any, sign: int, sizes: Sizes, wide: torch.dtype) -> tuple[Bias, ...] | None:
    """The biases that something which is added to the scores is."""
    found = _bias(thing, sign, sizes, wide)
    if found is not None:
        return (found,)
    if not isinstance(thing, Node) or thing.kind not in ("add", "sub") or thing.keywords:
        return None
    first, second = thing.arguments
    left = _added(first, sign, sizes, wide)
    right = _added(second, -sign if thing.kind == "sub" else sign, sizes, wide)
    if left is None or right is None:
        return None
    biases = (*left, *right)
    return biases if _may_be_added_in_turn(biases) else None


def _may_be_added_in_turn(biases: tuple[Bias, ...]) -> bool:
    """Whether scores to which biases are added one by one are as exact as those to which their sum
    is added: two large ones, as times of day, would leave nothing of a score before they cancel."""
    return sum(map(_has_large_numbers, biases)) <= 1


def _has_large_numbers(bias: Bias) -> bool:
    if not isinstance(bias, (DistanceTable, TensorBias)):
        return False
    sizes = (bias.table if isinstance(bias, DistanceTable) else bias.values).detach().abs()
    return bool(((sizes > _LARGE) & (sizes < torch.inf)).any())


def _bias(thing: Any, sign: int, sizes: Sizes, wide: torch.dtype) -> Bias | None:
    places = sizes.places
    number = number_of(thing)
    if number is not None:
        return TensorBias(torch.full((1, 1), sign * number, dtype=wide, device=sizes.device))
    if not isinstance(thing, Node) or thing.dtype.is_complex:
        return None
    if not (thing.depends_on(QUERY) and thing.depends_on(KEY)):
        return TensorBias(_wide(values_of(thing, places), sign, wide))
    if depends_on_distance(thing, places):
        nearest = -(sizes.queries - 1)
        ahead = torch.arange(nearest, sizes.keys, device=sizes.device)
        origin = torch.zeros((), dtype=torch.int64, device=sizes.device)
        table = values_of(thing, {**places, QUERY: origin, KEY: ahead})
        return DistanceTable(_wide(table, sign, wide).squeeze(-2), nearest)
    table = lookup_of_cells(thing, sizes)
    return None if table is None else TensorBias(_wide(table, sign, wide))


def _wide(values: Tensor, sign: int, wide: torch.dtype) -> Tensor:
    """A bias as it is added: half types stay as they are, and are widened where they are used."""
    values = values if values.is_floating_point() else values.to(wide)
    return values if sign > 0 else -values
