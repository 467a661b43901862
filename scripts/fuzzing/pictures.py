"""Damaged pictures, as `qkv classify` reads them."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from PIL import Image

from qkv.tasks.classification.images.reading import read_picture

from .guard import guarded, limited, refusal_of
from .mutations import Cut, applied, of_bytes
from .target import Target

_WAYS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "png": ("PNG", "RGB", {}),
    "png, grey": ("PNG", "L", {}),
    "png, palette": ("PNG", "P", {"transparency": 3}),
    "png, transparent": ("PNG", "RGBA", {}),
    "png, 16 bits": ("PNG", "I;16", {}),
    "jpeg": ("JPEG", "RGB", {}),
    "jpeg, progressive": ("JPEG", "L", {"progressive": True}),
    "jpeg, cmyk": ("JPEG", "CMYK", {}),
    "gif": ("GIF", "P", {}),
    "webp": ("WEBP", "RGB", {"lossless": True}),
    "bmp": ("BMP", "RGB", {}),
    "ppm": ("PPM", "RGB", {}),
    "tiff": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
}


@dataclass(frozen=True)
class Case:
    """A kind of picture, its damages, and the size that is asked for."""

    kind: str
    damages: tuple[Any, ...]
    size: tuple[int, int] | None


class Pictures(Target):
    """A damaged picture has pixels of the size that is asked for, or is refused by a ValueError
    that names it, before memory is taken for what it claims."""

    name = "pictures"
    about = "damaged pictures, as `qkv classify` reads them"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.contents = {kind: _picture(*way) for kind, way in _WAYS.items()}
        for kind in self.contents:  # all that Pillow imports late is there now
            for damages in ((), (Cut(40),)):
                with suppress(ValueError), _silent():
                    read_picture(applied(damages, self.contents[kind]), "x", (8, 8))

    def cases(self) -> st.SearchStrategy[Case]:
        def of(kind: str) -> st.SearchStrategy[Case]:
            damages = st.lists(of_bytes(len(self.contents[kind]), 80), max_size=4).map(tuple)
            return st.builds(Case, st.just(kind), damages, st.sampled_from([None, (8, 12)]))

        return st.sampled_from([*self.contents]).flatmap(of)

    def check(self, case: Case) -> str:
        file = self.folder / "picture"
        content = applied(case.damages, self.contents[case.kind])
        file.write_bytes(content)
        with limited(), _silent():
            try:
                with guarded(self.folder):
                    found = read_picture(file, str(file), case.size)
            except ValueError as error:
                return refusal_of(error, file)
            assert found.dtype is torch.uint8
            assert found.ndim == 3
            assert found.shape[0] == 3
            if case.size is not None:
                assert tuple(found.shape[1:]) == case.size
            elif not case.damages:
                self._assert_pixels(found, case.kind)
        return ""

    def _assert_pixels(self, found: torch.Tensor, kind: str) -> None:
        """Beside Pillow's own way to colours, of kinds that have no transparency and 8 bits."""
        assert tuple(found.shape[1:]) == (16, 24)
        if "transparent" in kind or "palette" in kind or "16 bits" in kind:
            return
        with Image.open(io.BytesIO(self.contents[kind])) as picture:
            expected = list(picture.convert("RGB").tobytes())
        assert found.permute(1, 2, 0).flatten().tolist() == expected


@contextmanager
def _silent() -> Iterator[None]:
    """Without what Pillow and its libraries print of damages that they pass over."""
    errors, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(errors, 2)
        os.close(errors)
        os.close(nowhere)


def _picture(form: str, mode: str, options: dict[str, Any]) -> bytes:
    """A picture of 24 by 16 pixels."""
    values = bytes((x * 7 + y * 13 + c * 50) % 256 for y in range(16) for x in range(24)
                   for c in range(3))  # fmt: skip
    picture = Image.frombytes("RGB", (24, 16), values)
    if mode == "I;16":
        picture = Image.frombytes("I;16", (24, 16), values[:768])
    elif mode == "RGBA":
        picture.putalpha(Image.frombytes("L", (24, 16), values[:384]))
    else:
        picture = picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()
