"""A picture file of any kind as pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qkv._extras import needed

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")

# How many pixels a byte of a file may stand for. A block of 64 takes JPEG a bit or more; PNG has 8
# of two colours in a byte, of which deflate leaves a 1,032nd. `_FREE` pixels any file may have.
_PIXELS_A_BYTE = {"JPEG": 1_000}
_PIXELS_A_BYTE_AT_ALL = 10_000
_FREE = 2**24


def read_picture(
    source: Path | bytes, name: str, size: tuple[int, int] | None = None, *, finer: int = 1
) -> Tensor:
    """The pixels of a picture, `[3, H, W]`, whole numbers from 0 to 255.

    Transparent parts are shown on white, a grey picture has three equal channels, of 16 bits the
    upper eight are taken, and of a moving picture the first frame.

    Args:
        source: a file, or its bytes.
        name: how errors name the picture.
        size: (height, width). The picture is scaled to cover it and cut around its middle; default:
            it keeps its size.
        finer: up to how many times `size` the result may be, if the picture itself is that fine.

    Raises:
        ValueError: it is no picture that can be read.
        OSError: the file cannot be opened.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    image, operations = needed("PIL.Image"), needed("PIL.ImageOps")
    try:
        with image.open(io.BytesIO(content)) as opened:
            _check_claim(opened, len(content))
            picture = _rgb(operations.exif_transpose(opened), image)
        if size is not None:
            height, width = size
            times = max(1, min(picture.height // height, picture.width // width, finer))
            wanted = (width * times, height * times)
            if picture.size != wanted:
                picture = operations.fit(picture, wanted, image.Resampling.BICUBIC)
    except Exception as error:  # Pillow raises whatever its decoders do
        reason = "unknown format" if type(error).__name__ == "UnidentifiedImageError" else error
        raise ValueError(f"{name}: not a picture that can be read: {reason}") from error
    return pixels(picture)


def _check_claim(picture: Any, size: int) -> None:
    """Raises ValueError where a file of so many bytes cannot hold the pixels that it claims."""
    width, height = picture.size
    most = max(_FREE, size * _PIXELS_A_BYTE.get(picture.format, _PIXELS_A_BYTE_AT_ALL))
    if width * height > most:
        raise ValueError(f"it claims {width:,} × {height:,} pixels and has {size:,} bytes")


def pixels(picture: Any) -> Tensor:
    """The pixels `[3, H, W]` of one of Pillow's pictures, which is RGB."""
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return flat.view(picture.height, picture.width, 3).permute(2, 0, 1).contiguous()


def _rgb(picture: Any, image: Any) -> Any:
    if picture.mode.startswith("I"):  # 16 bits, in one of its orders, or as 32
        numpy = needed("numpy")
        upper = (numpy.asarray(picture).astype(numpy.int64) >> 8).clip(0, 255)
        picture = image.fromarray(upper.astype(numpy.uint8))
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of no known range")
    if picture.has_transparency_data:
        white = image.new("RGBA", picture.size, "white")
        picture = image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")
