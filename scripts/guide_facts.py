"""What a page of the guide says about a class beyond its docstring: each fact is asked of it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch

import qkv
from qkv.impl import choose, native
from qkv.masks.base import Mask
from qkv.measures.base import Measure
from qkv.normalizers.base import Normalizer
from qkv.scores.base import Score
from qkv.stage.custom import Custom
from qkv.testing.examples import Sizes, drawing, examples

LENGTH, WIDTH = 16, 2


def facts_of(kind: str, stage: type, names: dict[str, Any]) -> list[str]:
    """The facts of a class whose example left these names."""
    if kind == "measure":
        return _of_measure(stage)
    matrix = names["A"]
    special = {"score": _of_score, "mask": _of_mask, "normalizer": _of_normalizer}
    facts = special[kind](stage) if kind in special else []
    part = matrix.bias[0] if kind == "bias" else getattr(matrix, kind)
    if part.needs_positions:
        facts.append("It asks for positions: where Lq ≠ Lk, `query_offset` must be given.")
    if kind != "mask":
        facts.append(_gradients(stage))
    return [*facts, _served(matrix, qkv.Product(names["value"]))]


def _overridden(stage: type, base: type, method: str) -> bool:
    return getattr(stage, method) is not getattr(base, method)


def _of_score(stage: type) -> list[str]:
    facts = []
    if _overridden(stage, Score, "prepared"):
        facts.append("`qkv.prepare(key, score)` does once what it does to keys alone.")
    if _overridden(stage, Score, "numbers_per_cell"):
        facts.append("It needs D numbers for each pair, so strips are computed in tiles of keys.")
    return facts


def _of_mask(stage: type) -> list[str]:
    if _overridden(stage, Mask, "intervals"):
        return ["It is told as intervals of keys: blocks that nobody sees are skipped."]
    return ["It is asked cell by cell: by itself it lets no block be skipped."]


def _of_normalizer(stage: Any) -> list[str]:
    merges = _overridden(stage, Normalizer, "merge")
    sink = any(field.name == "sink" for field in fields(stage))
    return [
        f"The weights of a row that sees anything sum to 1{', with the sink’s' if sink else ''}."
        if stage.distribution
        else "The weights of a row need not sum to 1.",
        "No weight is negative."
        if stage.nonnegative
        else "Weights may be negative: entropy, mass, distance and support refuse it.",
        "The statistics of two parts of the keys merge into that of the whole."
        if merges
        else "A row's statistic needs all of its keys: those of two parts do not merge.",
    ]


def _gradients(stage: Any) -> str:
    reached = ["query", "key", "value"]
    if issubclass(stage, Custom):
        reached.append("the tensors that the callable captures")
    else:
        reached += [f"`{field.name}`" for field in fields(stage) if "Tensor" in str(field.type)]
    return f"Gradients reach {', '.join(reached[:-1])} and {reached[-1]}."


def _of_measure(stage: Any) -> list[str]:
    sizes = Sizes((), None, None, LENGTH, LENGTH, WIDTH, WIDTH)
    measures = examples(stage, sizes, drawing(0))
    measure = measures[0]
    query = drawing(1)(LENGTH, WIDTH).requires_grad_()
    matrix = qkv.attention(query, query)
    differentiable = [_requires_grad(matrix.measure(each)[0]) for each in measures]
    facts = []
    if not _serves(measure, qkv.Sparsemax()):
        facts.append("It is defined for a softmax alone.")
    elif not _serves(measure, qkv.Identity()):
        facts.append("It needs weights that cannot be negative.")
    if all(differentiable):
        facts.append("It is differentiable.")
    else:
        facts.append(f"It has {'not always a' if any(differentiable) else 'no'} derivative.")
    shared = f"`A.measure(qkv.{stage.__name__}(...), ...)` takes it in one sweep with others."
    return [*facts, *([shared] if stage.__name__ in qkv.__all__ else []), _served(matrix, measure)]


def _requires_grad(result: Any) -> bool:
    parts = result if isinstance(result, tuple) else (result,)
    return any(part.requires_grad for part in parts)


def _serves(measure: Measure, normalizer: Any) -> bool:
    query = torch.zeros(LENGTH, WIDTH, dtype=torch.float64)
    try:
        qkv.attention(query, query, normalizer=normalizer).measure(measure)
    except qkv.UnsupportedError:
        return False
    return True


def _served(matrix: qkv.AttentionMatrix, measure: Measure) -> str:
    """Which implementations take the example."""
    able, unable = [], []
    for implementation in choose.IMPLEMENTATIONS:
        # The pages do not depend on what was built here.
        ask = native.prepare if implementation is native else implementation.accept
        answer = ask(replace(matrix, impl=implementation.NAME), (measure,))
        if isinstance(answer, str):
            unable.append(f"; not `{implementation.NAME}`: {answer}")
        else:
            able.append(f"`{implementation.NAME}`")
    return f"Implementations of the example: {', '.join(able)}{''.join(unable)}."
