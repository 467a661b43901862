"""A run's whole configuration as a TOML file, from which it can be run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qkv.ground.files import write_atomic

RUN = "run.toml"


def merged(*groups: Any) -> dict[str, Any]:
    """The fields of dataclasses, and the entries of dicts, in one table."""
    return {
        name: value
        for group in groups
        for name, value in (group if isinstance(group, dict) else vars(group)).items()
    }


def write_toml(path: Path, values: Mapping[str, Any]) -> None:
    """Write a flat table, atomically: texts, numbers, truth values, paths, and lists of them.

    What is None is left out, for TOML has no word for it.
    """
    lines = [f"{name} = {_value(value)}\n" for name, value in values.items() if value is not None]
    write_atomic(path, "".join(lines).encode())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # A JSON string is a TOML string, but for the one control character that JSON leaves bare.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
