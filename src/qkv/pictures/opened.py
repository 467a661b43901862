"""Picture files, which may come from anyone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qkv._extras import needed

# Pillow knows others, and for some of them it starts programs.
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "PPM", "TIFF")

# How many pixels a byte of a file may stand for. A block of 64 takes JPEG a bit or more; PNG has 8
# of two colours in a byte, of which deflate leaves a 1,032nd. `_FREE` pixels any file may have.
_PIXELS_A_BYTE = {"JPEG": 1_000}
_PIXELS_A_BYTE_AT_ALL = 10_000
_FREE = 2**24


@contextmanager
def opened_picture(source: Path | bytes, name: str) -> Iterator[Any]:
    """A picture of Pillow's, from a PNG, JPEG, GIF, WebP, BMP, PPM or TIFF file or its bytes, whose
    pixels are read within.

    Raises:
        ValueError: it is no picture that can be read; the text begins with `name`.
        OSError: the file cannot be opened.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    image = needed("PIL.Image")
    try:
        with image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            _check_claim(picture, len(content))
            yield picture
    except Exception as error:  # Pillow raises whatever its decoders do
        unknown = f"unknown format; those are read: {', '.join(_FORMATS)}"
        reason = unknown if type(error).__name__ == "UnidentifiedImageError" else error
        raise ValueError(f"{name}: not a picture that can be read: {reason}") from error


def _check_claim(picture: Any, size: int) -> None:
    """Raises ValueError where a file of so many bytes cannot hold the pixels that it claims."""
    width, height = picture.size
    most = max(_FREE, size * _PIXELS_A_BYTE.get(picture.format, _PIXELS_A_BYTE_AT_ALL))
    if width * height > most:
        raise ValueError(f"it claims {width:,} × {height:,} pixels and has {size:,} bytes")
