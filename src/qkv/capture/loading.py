"""Captures from files: without the model, and without trust in the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .call import Call, Missed
from .capture import Capture
from .container import Malformed, clipped, parsed, read
from .images import ImageLabels
from .labelling import ALL, SIDES, Labelled
from .labels import Labels
from .saved import CALL, FORMAT, IMAGE, MISSED, SCHEMA, TEXT
from .stages import Stored, matrix_of_told, members, number_of


def load_capture(path: str | os.PathLike[str]) -> Capture:
    """A capture that `Capture.save` wrote, without the model that it is of.

    The tensors lie in the file until they are used, so a capture that is larger than the memory can
    be opened. The file may be replaced meanwhile, but not shortened. Nothing in it is executed:
    stages are looked up by name in a closed table, and what is not as `save` writes it is refused.

    Args:
        path: the file.

    Raises:
        ValueError: the file is no capture, or one of a newer version, cut off, or at odds with
            itself; the text says where.
        OSError: it cannot be read.
    """
    path = Path(path)
    try:
        named, metadata = read(path)
        stored = Stored(named)
        capture = _capture(_told(metadata), stored)
        if unused := sorted(named.keys() - stored.used):
            raise Malformed(f"the tensor {clipped(unused[0])} belongs to nothing")
    except Malformed as error:
        raise ValueError(f"{path}: not a capture that qkv can load: {error}") from error
    return capture


def _told(metadata: dict[str, str]) -> dict[str, Any]:
    """What the file says of its tensors."""
    if metadata.get("format") != FORMAT:
        raise Malformed(f"its format is {clipped(metadata.get('format'))}, not {FORMAT!r}")
    schema = metadata.get("schema", "")
    if not schema.isdecimal() or len(schema) > 9:
        raise Malformed(f"its schema is {clipped(schema)}, which is no version")
    if int(schema) > SCHEMA:
        raise Malformed(
            f"its schema is {int(schema)}, and this version of qkv reads up to {SCHEMA}: a newer "
            "one wrote it"
        )
    text = members(metadata, ("format", "schema", "capture"), "its metadata")["capture"]
    return members(parsed(text), ("calls", "missed", "labels"), "the capture")


def _capture(told: dict[str, Any], stored: Stored) -> Capture:
    capture = Capture()
    for place, call in enumerate(_list(told["calls"], "calls")):
        capture.calls.append(_call(call, stored, f"calls.{place}"))
    for place, one in enumerate(_list(told["missed"], "missed")):
        values = _checked(members(one, MISSED, f"missed.{place}"), _KINDS, f"missed.{place}")
        capture.missed.append(Missed(**values))
    sides = told["labels"]
    if not isinstance(sides, dict) or not sides.keys() <= {ALL, *SIDES}:
        raise Malformed(f"labels are {clipped(sides)}, which have other sides")
    for side, labels in sides.items():
        what = f"labels.{side}"
        entries = enumerate(_list(labels, what))
        capture.labelling.given[side] = [_labels(one, stored, f"{what}.{i}") for i, one in entries]
    return capture


def _call(told: Any, stored: Stored, what: str) -> Call:
    values = dict(members(told, (*CALL, "matrix"), what))
    matrix = matrix_of_told(values.pop("matrix"), stored, f"{what}.matrix")
    return Call(matrix=matrix, **_checked(values, _KINDS, what))


def _labels(told: Any, stored: Stored, what: str) -> Labelled:
    if isinstance(told, dict) and "image" in told:
        return _image(members(told, IMAGE, what), stored, what)
    values = members(told, TEXT, what)
    tokens, spans, text = values["tokens"], values["spans"], values["text"]
    _checked({"spare": values["spare"]}, _KINDS, what)
    if not _are(str, tokens):
        raise Malformed(f"{what}.tokens are {clipped(tokens)}, which are no texts")
    if spans is None and text is None:
        return Labels(tuple(tokens), spare=values["spare"])
    if not isinstance(text, str) or not isinstance(spans, list):
        raise Malformed(f"{what} must have both text and spans, or none of them")
    if len(spans) != len(tokens):
        raise Malformed(f"{what} has {len(tokens)} tokens and {len(spans)} spans")
    for span in spans:
        if not _are(int, span) or len(span) != 2 or not 0 <= span[0] <= span[1] <= len(text):
            raise Malformed(f"{what} has the span {clipped(span)} of {len(text)} characters")
    found = tuple((start, stop) for start, stop in spans)
    return Labels(tuple(tokens), found, text, values["spare"])


def _image(told: dict[str, Any], stored: Stored, what: str) -> ImageLabels:
    image, grid, extra = stored.take(told["image"], f"{what}.image"), told["grid"], told["extra"]
    if image.dtype is not torch.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise Malformed(f"{what}.image is {image.dtype} {list(image.shape)}, which is no picture")
    if not _are(int, grid) or len(grid) != 2 or not all(0 < size < 2**31 for size in grid):
        raise Malformed(f"{what}.grid is {clipped(grid)}, which are no rows and columns")
    if not _are(str, extra):
        raise Malformed(f"{what}.extra are {clipped(extra)}, which are no texts")
    return ImageLabels(image, (grid[0], grid[1]), tuple(extra))


def _is_count(thing: Any) -> bool:
    return type(thing) is int and 0 <= thing < 2**62


def _is_line(thing: Any) -> bool:
    """Whether this is text that a terminal only shows: it takes control characters for orders."""
    return isinstance(thing, str) and not any(
        (character < " " and character != "\t") or "\x7f" <= character < "\xa0"
        for character in thing
    )


_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("module", "function", "reason"), _is_line),
    **dict.fromkeys(("step", "steps", "count", "spare"), _is_count),
    "kind": lambda thing: thing in ("self", "cross"),
    "residual": lambda thing: thing is None or isinstance(thing, float),
    "materialised": lambda thing: isinstance(thing, bool),
}


def _checked(
    told: dict[str, Any], kinds: dict[str, Callable[[Any], bool]], what: str
) -> dict[str, Any]:
    """Plain values by name, each of its kind."""
    values = {name: number_of(value, f"{what}.{name}") for name, value in told.items()}
    for name, value in values.items():
        if not kinds[name](value):
            raise Malformed(f"{what}.{name} is {clipped(value)}, which is none")
    return values


def _list(told: Any, what: str) -> list[Any]:
    if not isinstance(told, list):
        raise Malformed(f"{what} must be a list; got {clipped(told)}")
    return told


def _are(kind: type, things: Any) -> bool:
    return isinstance(things, list) and all(type(thing) is kind for thing in things)
