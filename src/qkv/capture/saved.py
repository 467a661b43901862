"""Captures as files: what is written of calls and labels, as JSON beside the tensors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..ground.files import naming, writing
from .call import Call, Missed
from .container import Malformed, parsed, write
from .images import ImageLabels
from .labelling import Labelled, Labelling
from .stages import Tensors, told_of, told_of_matrix

FORMAT, SCHEMA = "qkv capture", 1
# What a file says of each, by the names of its attributes.
CALL = ("module", "kind", "step", "steps", "residual", "function", "materialised")
MISSED = ("module", "function", "reason", "count")
TEXT = ("tokens", "spans", "text", "spare")
IMAGE = ("image", "grid", "extra")


def save(
    path: str | os.PathLike[str],
    calls: Iterable[Call],
    missed: Iterable[Missed],
    labelling: Labelling,
) -> None:
    """See `Capture.save`."""
    path, tensors = Path(path), Tensors()
    told = {
        "calls": [_call(call, tensors, f"calls.{place}") for place, call in enumerate(calls)],
        "missed": [_attributes(one, MISSED, tensors, "missed") for one in missed],
        "labels": {
            side: [_labels(one, tensors, f"labels.{side}.{i}") for i, one in enumerate(labels)]
            for side, labels in labelling.given.items()
        },
    }
    text = json.dumps(told, separators=(",", ":"))
    try:
        parsed(text)
    except Malformed as error:
        raise ValueError(f"save: {path} could not be read again: {error}") from None
    metadata = {"format": FORMAT, "schema": str(SCHEMA), "capture": text}
    with writing(path) as file, naming(path):
        write(file, tensors.named, metadata)


def _call(call: Call, tensors: Tensors, name: str) -> dict[str, Any]:
    matrix = told_of_matrix(call.matrix, tensors, name)
    return _attributes(call, CALL, tensors, name) | {"matrix": matrix}


def _labels(labels: Labelled, tensors: Tensors, name: str) -> dict[str, Any]:
    names = IMAGE if isinstance(labels, ImageLabels) else TEXT
    return _attributes(labels, names, tensors, name)


def _attributes(
    thing: object, names: tuple[str, ...], tensors: Tensors, within: str
) -> dict[str, Any]:
    return {name: told_of(getattr(thing, name), tensors, f"{within}.{name}") for name in names}
