"""Damaged files of labelled pictures as arrays, from which `qkv train classify-images` learns."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from hypothesis import strategies as st
from PIL import Image

from qkv.tasks.classification.images.data import read_pictures

from .guard import guarded, limited, refusal_of
from .mutations import applied, of_bytes
from .target import Target


@dataclass(frozen=True)
class Case:
    """A file by its number; damages of one of its arrays, or (None) of the whole file; the size
    that is asked for."""

    file: int
    array: str | None
    damages: tuple[Any, ...]
    size: tuple[int, int] | None


class Arrays(Target):
    """A damaged `.npz` file gives pictures of one size, each with a label, or is refused by a
    ValueError that names it, before memory is taken for what it claims."""

    name = "arrays"
    about = "damaged .npz files of labelled pictures"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.members = [_members(arrays) for arrays in _files()]
        for number in range(len(self.members)):  # all that is imported late is there now
            self.check(Case(number, None, (), (8, 8)))

    def cases(self) -> st.SearchStrategy[Case]:
        return st.integers(0, len(self.members) - 1).flatmap(self._of)

    def _of(self, number: int) -> st.SearchStrategy[Case]:
        def of(array: str | None) -> st.SearchStrategy[Case]:
            members = self.members[number]
            content = _zipped(members) if array is None else members[array]
            damages = st.lists(of_bytes(len(content), 128), max_size=3).map(tuple)
            sizes = st.sampled_from([None, (8, 8), (5, 9)])
            return st.builds(Case, st.just(number), st.just(array), damages, sizes)

        return st.sampled_from([None, *self.members[number]]).flatmap(of)

    def check(self, case: Case) -> str:
        members = dict(self.members[case.file])
        if case.array is None:
            content = applied(case.damages, _zipped(members))
        else:
            members[case.array] = applied(case.damages, members[case.array])
            content = _zipped(members)
        file = self.folder / "pictures.npz"
        file.write_bytes(content)
        with limited():
            try:
                with guarded(self.folder):
                    found = read_pictures(file, case.size)
            except ValueError as error:
                return refusal_of(error, file)
        assert found.images.dtype is torch.uint8
        assert found.images.ndim == 4
        assert found.images.shape[1] == 3
        assert case.size is None or tuple(found.images.shape[2:]) == case.size
        assert len(found.labels) == len(found.images)
        assert all(isinstance(label, str) for label in found.labels)
        return ""


def _files() -> list[dict[str, Any]]:
    """Arrays of every form: colours, grey, and picture files one after the other."""
    colours = (numpy.arange(3 * 8 * 8 * 3) % 251).astype(numpy.uint8).reshape(3, 8, 8, 3)
    files = []
    for image in colours:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        files.append(file.getvalue())
    offsets = numpy.cumsum([0, *map(len, files)])
    blob = numpy.frombuffer(b"".join(files), numpy.uint8)
    labels, classes = numpy.array([0, 1, 0]), numpy.array(["cat", "dog"])
    return [
        {"labels": labels, "images": colours},
        {"labels": labels, "classes": classes, "images": colours[..., 0]},
        {"labels": labels, "classes": classes, "blob": blob, "offsets": offsets},
    ]


def _members(arrays: dict[str, Any]) -> dict[str, bytes]:
    """The arrays as the files of an `.npz` file."""
    found = {}
    for name, array in arrays.items():
        file = io.BytesIO()
        numpy.save(file, array)
        found[f"{name}.npy"] = file.getvalue()
    return found


def _zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()
