"""Which model reads the texts, and which the pictures, and how."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from qkv.tasks.kinds import IMAGES, TEXTS, TRANSLATIONS, kind_of
from qkv.tasks.model_folders import model_folder, read_format

if TYPE_CHECKING:
    from qkv.viewer.subject import Source

TEXT, PICTURE = "texts", "pictures"
Reader = Callable[[str], "list[Source]"]

_SHIPPED = {TEXT: TRANSLATIONS, PICTURE: IMAGES}
_READERS = {
    TRANSLATIONS.format: (TEXT, "qkv.cli.sources.translators:read"),
    TEXTS.format: (TEXT, "qkv.cli.sources.classifiers:read_text"),
    IMAGES.format: (PICTURE, "qkv.cli.sources.classifiers:read_picture"),
}


def reader(model: Path | None, what: str) -> Reader:
    """What reads texts, or pictures by the names of their files, and gives what it looked at.

    Args:
        model: a folder of qkv or of transformers, or the name of a model that ships; None: the one
            that ships for what is read.
        what: `TEXT` or `PICTURE`.

    Raises:
        ValueError: there is no such model, it cannot be loaded, or it reads something else.
    """
    if model is not None and _is_of_transformers(model):
        from .transformers_folders import TransformersFolder

        folder = TransformersFolder(model)
        return folder.read_text if what == TEXT else folder.read_picture
    kind = _SHIPPED[what] if model is None else kind_of(model, "look")
    reads, home = _READERS[kind.format]
    if reads != what:
        raise ValueError(f"look: {model} is {kind.name}, which reads {reads}, not {what}")
    return partial(resolve_name(home), kind.model.load(model))


def _is_of_transformers(model: Path) -> bool:
    """Whether a folder says nothing of the kinds of qkv."""
    folder = model_folder(model)
    return folder.is_dir() and not read_format(folder)
