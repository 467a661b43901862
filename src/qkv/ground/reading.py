"""Files of unknown origin: JSON and what is compressed."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from typing import Any

# A compressed file may stand for so many times its size, and each for so much.
_TIMES = 200
_FREE = 2**28
_AT_ONCE = 2**20


def json_value(text: str | bytes) -> Any:
    """The value that a text of JSON stands for. Raises ValueError where it is none, or has brackets
    within brackets without end."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("too many brackets within brackets") from None


def gunzipped(content: bytes) -> bytes:
    """What was compressed by gzip. Raises ValueError where nothing was, or where it is out of all
    proportion."""
    parts, size = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            while part := file.read(_AT_ONCE):
                size += len(part)
                check_proportion(size, len(content))
                parts.append(part)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"cannot be decompressed: {error}") from error
    return b"".join(parts)


def check_proportion(size: int, compressed: int) -> None:
    """Raises ValueError where a compressed file stands for too many bytes."""
    most = max(_FREE, _TIMES * compressed)
    if size > most:
        raise ValueError(
            f"it has {compressed:,} bytes and stands for more than {most:,}: {_TIMES} times its "
            f"size, or {_FREE // 2**20} MiB, are read"
        )
