"""A matrix as JSON and tensors, and back: stages by a closed table of names.

A stage is its name and its fields: numbers, tensors, other stages. What a file names is looked up
in the table and nowhere else, and made by the stage's own class, which checks what it is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, fields, replace
from math import prod
from typing import Any, get_type_hints

import torch
from torch import Tensor

from ..biases import BIASES
from ..biases.base import Bias
from ..biases.tensor import TensorBias
from ..ground.autocast import autocast_off
from ..masks import MASKS
from ..masks.base import And, Mask, Not, Or
from ..masks.dense import Dense
from ..matrix.attention import attention
from ..matrix.matrix import AttentionMatrix
from ..nn.grid import GridBias
from ..normalizers import NORMALIZERS
from ..normalizers.base import Normalizer
from ..request.chosen import Chosen, Entry
from ..request.description import Description
from ..request.problem import build
from ..scores import SCORES
from ..scores.base import Score
from ..scores.cosine import CosineOfDirections
from ..stage.custom import Custom
from ..stage.dropout import OF_PARTS, Dropout
from .container import DTYPES, Malformed, are_sizes, clipped, in_order, without_repeats

STAGES: dict[str, type] = {
    stage.__name__: stage
    for stage in (
        *(*SCORES, CosineOfDirections),
        *(*BIASES, GridBias),
        *(*MASKS, And, Or, Not),
        *NORMALIZERS,
        Dropout,
    )
    if not issubclass(stage, Custom)
}
_KNOWN = set(DTYPES.values())
_LARGEST = 2**62


class Tensors:
    """Tensors on their way into a file, by name. One that stands in several places is written
    once, and one that repeats itself along a dimension without the repetitions."""

    def __init__(self) -> None:
        self.named: dict[str, Tensor] = {}
        self._places: dict[Any, Any] = {}
        self._kept: list[Tensor] = []  # while they live nothing else stands at their addresses

    def add(self, name: str, tensor: Tensor, *, repeats: bool = False) -> dict[str, Any]:
        """What stands for a tensor in JSON. With `repeats` one that repeats itself along a
        dimension is written without the repetitions.

        Raises:
            TypeError: it is of a type that is not written.
        """
        if tensor.dtype not in _KNOWN or tensor.layout is not torch.strided or tensor.is_meta:
            raise TypeError(
                f"save: {name} is a tensor of {tensor.dtype}, {tensor.layout} on {tensor.device}, "
                "which a file does not hold"
            )
        tensor = tensor.detach()
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.device)
        if place not in self._places:
            self._places[place] = self._laid(name, tensor, repeats)
            self._kept.append(tensor)
        return self._places[place]

    def _laid(self, name: str, tensor: Tensor, repeats: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"tensor": name}
        once = without_repeats(tensor) if repeats else tensor
        if once.shape != tensor.shape:
            told["shape"] = list(tensor.shape)
        self.named[name], order = in_order(once)
        if order != sorted(order):
            told["order"] = order
        return told


class Stored:
    """The tensors of a file by name, each as the JSON beside them says."""

    def __init__(self, named: Mapping[str, Tensor]) -> None:
        self._named = named
        self.used: set[str] = set()

    def take(self, told: Any, what: str, *, repeats: bool = False) -> Tensor:
        """The tensor that `add` answered this for.

        Raises:
            Malformed: there is none, or it is no tensor of that order and shape.
        """
        names = {"tensor", "order", *(["shape"] if repeats else [])}
        if not isinstance(told, dict) or not told.keys() <= names:
            raise Malformed(f"{what} must name a tensor; got {clipped(told)}")
        name = told.get("tensor")
        if not isinstance(name, str) or name not in self._named:
            raise Malformed(f"{what} is the tensor {clipped(name)}, which is not in the file")
        self.used.add(name)
        tensor = self._named[name]
        order = told.get("order", list(range(tensor.ndim)))
        if not are_sizes(order) or sorted(order) != list(range(tensor.ndim)):
            raise Malformed(f"{what} has the order {clipped(order)} of {tensor.ndim} dimensions")
        tensor = tensor.permute(order)
        shape = told.get("shape", list(tensor.shape))
        if (
            not are_sizes(shape)
            or len(shape) != tensor.ndim
            or any(b not in (1, a) for a, b in zip(shape, tensor.shape, strict=True))
            or prod(shape) > _LARGEST
        ):
            raise Malformed(f"{what} has the shape {clipped(shape)}; it is {list(tensor.shape)}")
        return tensor.expand(shape)


def told_of_matrix(matrix: Description, tensors: Tensors, name: str) -> dict[str, Any]:
    """A matrix as JSON; its tensors are added under names that begin with `name`.

    Raises:
        TypeError: a stage is not in the table, such as a user's function, or the matrix is shared.
    """
    if matrix.shards is not None:
        raise TypeError(
            f"save: {name} is shared by {matrix.shards.count} processes, and a file holds whole "
            "matrices alone"
        )
    parts = {
        "score": matrix.score,
        "bias": matrix.bias,
        "mask": matrix.mask,
        "normalizer": matrix.normalizer,
        "offset": matrix.offset,
        "dropout": matrix.dropped,
        "rows": matrix.rows,
        "chosen": None
        if matrix.chosen is None
        else tuple(entry and (entry.index, entry.single) for entry in matrix.chosen),
    }
    told: dict[str, Any] = {
        what: tensors.add(f"{name}.{what}", getattr(matrix, what), repeats=True)
        for what in ("query", "key")
    }
    told |= {what: told_of(part, tensors, f"{name}.{what}") for what, part in parts.items()}
    return told | {"impl": matrix.impl}


def told_of(thing: Any, tensors: Tensors, name: str) -> Any:
    """A number, a text, a tensor, a stage or a list of such as JSON.

    Raises:
        TypeError: it is none.
    """
    if isinstance(thing, Tensor):
        return tensors.add(name, thing)
    if isinstance(thing, float) and not math.isfinite(thing):
        return {"number": repr(thing)}
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, (tuple, list)):
        return [told_of(entry, tensors, f"{name}.{place}") for place, entry in enumerate(thing)]
    stage = type(thing).__name__
    if STAGES.get(stage) is not type(thing):
        own = type(thing).__module__.startswith("qkv.") and not isinstance(thing, Custom)
        what = f"{thing.function!r}" if isinstance(thing, Custom) else f"a {stage}"
        whose = "a stage that files do not know" if own else "a user's code"
        raise TypeError(
            f"save: {name} is {clipped(what)}, which is {whose}, and a file holds the public "
            "stages of qkv alone; say the same by these, or by a tensor (qkv.Dense, a bias)"
        )
    values = {field.name: getattr(thing, field.name) for field in _written(thing)}
    if isinstance(thing, (Dense, TensorBias)):  # these say the same of all where they have one
        values = {what: without_repeats(tensor) for what, tensor in values.items()}
    told = {what: told_of(value, tensors, f"{name}.{what}") for what, value in values.items()}
    return {"stage": stage, "fields": told}


def matrix_of_told(told: Any, stored: Stored, what: str) -> AttentionMatrix:
    """The matrix that `told_of_matrix` told.

    Raises:
        Malformed: it is none.
    """
    names = ("query", "key", "score", "bias", "mask", "normalizer", "offset", "dropout", "rows")
    part = members(told, (*names, "chosen", "impl"), what)
    query, key = (stored.take(part[n], f"{what}.{n}", repeats=True) for n in ("query", "key"))
    stage = {name: _found(part[name], stored, f"{what}.{name}") for name in names[2:]}
    kinds = {
        "score": Score,
        "mask": Mask | None,
        "normalizer": Normalizer,
        "dropout": Dropout | None,
    }
    for name, kind in kinds.items():
        if not isinstance(stage[name], kind):
            raise Malformed(f"{what}.{name} is {clipped(part[name])}, which is none")
    if not isinstance(stage["bias"], list) or not all(isinstance(b, Bias) for b in stage["bias"]):
        raise Malformed(f"{what}.bias is {clipped(part['bias'])}, which are no biases")
    try:
        with autocast_off(query.device):
            matrix = attention(
                query,
                key,
                score=stage["score"],
                bias=stage["bias"],
                mask=stage["mask"],
                normalizer=stage["normalizer"],
                query_offset=stage["offset"],
                impl=part["impl"],
            )
        matrix = replace(matrix, dropped=stage["dropout"])
        with torch.no_grad():
            build(matrix)  # so every tensor of a stage fits
        rows = _rows(stage["rows"], matrix, f"{what}.rows")
        chosen = _chosen(_found(part["chosen"], stored, f"{what}.chosen"), matrix, what)
        matrix = replace(matrix, rows=rows, chosen=chosen)
    except Malformed:
        raise
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise Malformed(f"{what}: {error}") from error
    return matrix


def members(told: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    """A JSON object that has these names and no others."""
    if not isinstance(told, dict) or told.keys() != set(names):
        got = ", ".join(map(str, told)) if isinstance(told, dict) else clipped(told)
        raise Malformed(f"{what} must have {', '.join(names)}; got {clipped(got)}")
    return told


def _found(told: Any, stored: Stored, what: str) -> Any:
    """What `told_of` told, texts left out."""
    if told is None or isinstance(told, (bool, int, float)):
        return told
    if isinstance(told, list):
        return [_found(entry, stored, f"{what}.{place}") for place, entry in enumerate(told)]
    if isinstance(told, dict) and told.keys() == {"number"}:
        return number_of(told, what)
    if isinstance(told, dict) and told.keys() == {"stage", "fields"}:
        return _stage(told["stage"], told["fields"], stored, what)
    return stored.take(told, what)


def _written(stage: Any) -> list[Field[Any]]:
    """The fields of a stage that a file holds."""
    return [field for field in fields(stage) if not field.metadata.keys() & OF_PARTS.keys()]


def number_of(told: Any, what: str) -> Any:
    """A number that is not finite, which JSON has no word for; all else as it is."""
    if not isinstance(told, dict) or told.keys() != {"number"}:
        return told
    if told["number"] not in ("inf", "-inf", "nan"):
        raise Malformed(f"{what} is {clipped(told['number'])}, which is no number")
    return float(told["number"])


def _stage(name: Any, told: Any, stored: Stored, what: str) -> Any:
    """A stage by its name and fields."""
    kind = STAGES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Malformed(f"{what} is a stage {clipped(name)}, which this version does not know")
    declared = get_type_hints(kind)
    names = tuple(field.name for field in _written(kind))
    members(told, names, f"{what} ({name})")
    values = {field: _found(told[field], stored, f"{what}.{field}") for field in names}
    for field, value in values.items():
        wanted = declared[field]
        whole = type(value) is int and isinstance(0.0, wanted)  # an int where a float is taken
        if (
            not (isinstance(value, wanted) and (wanted is bool or type(value) is not bool))
            and not whole
        ):
            raise Malformed(f"{what}.{field} ({name}) is {clipped(told[field])}, which is none")
    try:
        if kind is Dropout:
            return Dropout.of(values["probability"], values["seed"], values["seed"].device)
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise Malformed(f"{what}: {error}") from error


def _rows(rows: Any, matrix: AttentionMatrix, what: str) -> Tensor | None:
    return None if rows is None else _indices(rows, matrix.query.shape[-2], what)


def _chosen(told: Any, matrix: AttentionMatrix, what: str) -> Chosen | None:
    """Chosen entries of the leading dimensions."""
    if told is None:
        return None
    sizes = matrix.shape[:-2]
    if not isinstance(told, list) or len(told) != len(sizes):
        raise Malformed(f"{what}.chosen must have an entry for each of {list(sizes)}")
    return tuple(
        None if entry is None else _entry(entry, size, f"{what}.chosen")
        for entry, size in zip(told, sizes, strict=True)
    )


def _entry(told: Any, size: int, what: str) -> Entry:
    if not isinstance(told, list) or len(told) != 2 or type(told[1]) is not bool:
        raise Malformed(f"{what} has an entry that is none")
    index = _indices(told[0], size, what)
    if told[1] and index.numel() != 1:
        raise Malformed(f"{what} has a single entry of {index.numel()}")
    return Entry(index, told[1])


def _indices(index: Any, size: int, what: str) -> Tensor:
    """Places along a dimension of this size."""
    if not isinstance(index, Tensor) or index.dtype is not torch.int64 or index.ndim != 1:
        raise Malformed(f"{what} must be int64 of one dimension")
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < size:
        raise Malformed(f"{what} has places outside of 0 ... {size - 1}")
    return index
