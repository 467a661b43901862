"""Labelled pictures: folders of classes, or arrays in a file."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qkv._extras import needed
from qkv.ground.reading import check_proportion
from qkv.tasks.classification.images.reading import SUFFIXES, read_picture
from qkv.tasks.classification.labels import held_of_learnt


@dataclass(frozen=True)
class Pictures:
    """Pictures `[N, 3, H, W]`, whole numbers from 0 to 255, and the label of each."""

    images: Tensor
    labels: list[str]

    def select(self, chosen: list[int]) -> Pictures:
        """Some of them."""
        return Pictures(self.images[chosen], [self.labels[i] for i in chosen])


def read_pictures(path: Path, size: tuple[int, int] | None = None) -> Pictures:
    """Reads a folder `class/file.png`, without hidden files, or an `.npz` file.

    The `.npz` file holds numbers `labels` `[N]`, if it has them their names `classes`, and either
    `images` (`[N, H, W, 3]`, `[N, 3, H, W]` or grey `[N, H, W]`, unsigned 8 bits) or picture files
    one after the other in `blob`, with picture i from `offsets[i]` to `offsets[i + 1]`.

    Args:
        size: (height, width) to which all pictures are scaled; default: they keep their size,
            which must be the same for all.

    Raises:
        ValueError: a file or an array is not as described; the text says what is wrong and where.
    """
    pictures = list(_in_folder(path, size) if path.is_dir() else _in_file(path, size))
    if not pictures:
        raise ValueError(f"{path}: no pictures; a folder must hold class/file.png")
    first, _, first_name = pictures[0]
    for image, _, name in pictures:
        if image.shape != first.shape:
            sizes = " and ".join(f"{i.shape[2]}×{i.shape[1]} ({n})" for i, n in
                                 ((first, first_name), (image, name)))  # fmt: skip
            raise ValueError(f"{path}: pictures differ in size, so a size must be given: {sizes}")
    return Pictures(
        torch.stack([image for image, _, _ in pictures]), [label for _, label, _ in pictures]
    )


LabelledPictures = Iterator[tuple[Tensor, str, str]]


def _in_folder(path: Path, size: tuple[int, int] | None) -> LabelledPictures:
    for folder in sorted(one for one in path.iterdir() if one.is_dir() and not _unseen(one.name)):
        files = picture_files(folder)
        if not files:
            raise ValueError(f"{folder}: no pictures of this class")
        for file in files:
            yield read_picture(file, str(file), size), folder.name, file.name


def picture_files(folder: Path) -> list[Path]:
    """The picture files in a folder and below, in order of their names, but for what is hidden."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not any(map(_unseen, file.relative_to(folder).parts))
        and file.is_file()
    )


def _unseen(name: str) -> bool:
    """Whether a file or folder is one that programs keep for themselves: hidden, such as
    `.ipynb_checkpoints` or `._cat.png`, or what archives made on a Mac bring along."""
    return name.startswith(".") or name == "__MACOSX"


def _in_file(path: Path, size: tuple[int, int] | None) -> LabelledPictures:
    arrays = _arrays(path)
    labels = _labels(path, arrays)
    made = _from_blob if "blob" in arrays else _from_arrays
    images = made(path, arrays, size, len(labels))
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield image, label, f"picture {number}"


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays of an `.npz` file by name. Its members are read as they are and then looked at, so
    that no memory is taken for what a header claims."""
    with path.open("rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                claimed = sum(member.file_size for member in archive.infolist())
                check_proportion(claimed, os.fstat(opened.fileno()).st_size)
                members = {name: archive.read(name) for name in archive.namelist()}
            return {name.removesuffix(".npy"): _in_member(one) for name, one in members.items()}
        except Exception as error:  # numpy and zipfile raise whatever a damaged file makes of them
            raise ValueError(f"{path}: not an .npz file: {error}") from error


def _in_member(content: bytes) -> Any:
    """The array of an `.npy` file. Raises ValueError, or whatever numpy does, where it is none."""
    numpy, file = needed("numpy"), io.BytesIO(content)
    form = numpy.lib.format
    read = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
    version = form.read_magic(file)
    if version not in read:
        raise ValueError(f"an array is of the version {version}, which is not read")
    shape, by_columns, dtype = read[version](file)
    size = len(content) - file.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != size:
        raise ValueError(f"an array of {dtype} {list(shape)} has {size:,} bytes")
    numbers = numpy.frombuffer(content, dtype, offset=file.tell())
    return numbers.reshape(shape, order="F" if by_columns else "C")


def _labels(path: Path, arrays: dict[str, Any]) -> list[str]:
    labels = _array(path, arrays, "labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{path}: labels must be whole numbers [N]; got {_kind(labels)}")
    if "classes" not in arrays:
        return [str(label) for label in labels.tolist()]
    classes = [str(name) for name in arrays["classes"].tolist()]
    for number, label in enumerate(labels.tolist()):
        if not 0 <= label < len(classes):
            raise ValueError(
                f"{path}: picture {number} has label {label}, and there are {len(classes)} classes"
            )
    return [classes[label] for label in labels.tolist()]


def _from_blob(
    path: Path, arrays: dict[str, Any], size: tuple[int, int] | None, count: int
) -> Iterator[Tensor]:
    blob, offsets = _array(path, arrays, "blob"), _array(path, arrays, "offsets").tolist()
    if len(offsets) != count + 1:
        raise ValueError(f"{path}: offsets must be {count + 1}, one more than labels; got "
                         f"{len(offsets)}")  # fmt: skip
    for number in range(count):
        content = blob[offsets[number] : offsets[number + 1]].tobytes()
        yield read_picture(content, f"{path}: picture {number}", size)


def _from_arrays(
    path: Path, arrays: dict[str, Any], size: tuple[int, int] | None, count: int
) -> Iterator[Tensor]:
    images = _array(path, arrays, "images")
    if str(images.dtype) != "uint8" or images.ndim not in (3, 4) or len(images) != count:
        raise ValueError(
            f"{path}: images must be {count} of unsigned 8 bits, [N, H, W, 3], [N, 3, H, W] or "
            f"[N, H, W]; got {_kind(images)}"
        )
    if images.ndim == 3:
        images = images[..., None].repeat(3, axis=-1)
    elif images.shape[-1] != 3:
        images = images.transpose(0, 2, 3, 1)
    if images.shape[-1] != 3:
        raise ValueError(f"{path}: images must have 3 channels or none; got {_kind(images)}")
    picture, operations = needed("PIL.Image"), needed("PIL.ImageOps")
    for image in images:
        if size is not None and image.shape[:2] != size:
            fitted = operations.fit(picture.fromarray(image), (size[1], size[0]))
            image = needed("numpy").asarray(fitted)
        yield torch.tensor(image).permute(2, 0, 1)


def _array(path: Path, arrays: dict[str, Any], name: str) -> Any:
    if name not in arrays:
        raise ValueError(
            f"{path}: there is no {name!r} in it; it must hold labels, and images or blob and "
            f"offsets; got {', '.join(sorted(arrays))}"
        )
    return arrays[name]


def _kind(array: Any) -> str:
    return f"{array.dtype} {list(array.shape)}"


def split_pictures(pictures: Pictures, share: float) -> tuple[Pictures, Pictures]:
    """Pictures to train on and to validate on; copies of a picture stay together. A picture of a
    label that none would be left to learn from is not drawn."""
    rows = pictures.images.flatten(1).numpy()
    digests = [hashlib.sha256(row.tobytes()).digest() for row in rows]
    drawn = [int.from_bytes(digest[:8], "big") / 2**64 < share for digest in digests]
    held = held_of_learnt(pictures.labels, digests, drawn)
    train = [i for i, out in enumerate(held) if not out]
    return pictures.select(train), pictures.select([i for i, out in enumerate(held) if out])
