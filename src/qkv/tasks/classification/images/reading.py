"""A picture file as pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qkv._extras import needed
from qkv.pictures.opened import opened_picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")


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
    image, operations = needed("PIL.Image"), needed("PIL.ImageOps")
    with opened_picture(source, name) as opened:
        picture = _rgb(operations.exif_transpose(opened), image)
        if size is not None:
            height, width = size
            times = max(1, min(picture.height // height, picture.width // width, finer))
            wanted = (width * times, height * times)
            if picture.size != wanted:
                picture = operations.fit(picture, wanted, image.Resampling.BICUBIC)
    return pixels(picture)


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
