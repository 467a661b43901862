"""Which kind of model a folder holds, and loading it whatever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, overload

from qkv.tasks.classification.images.classifier import FORMAT as IMAGES
from qkv.tasks.classification.images.classifier import ImageLabeller
from qkv.tasks.classification.text.classifier import FORMAT as TEXTS
from qkv.tasks.classification.text.classifier import TextLabeller
from qkv.tasks.files import MODELS, model_folder, read_format
from qkv.tasks.translation.translator import FORMAT as TRANSLATIONS
from qkv.tasks.translation.translator import Translator

_KINDS = {TRANSLATIONS: Translator, TEXTS: TextLabeller, IMAGES: ImageLabeller}


@overload
def load(path: Literal["en-zh", "en-zh-recurrent"]) -> Translator: ...
@overload
def load(path: Literal["reviews"]) -> TextLabeller: ...
@overload
def load(path: Literal["images"]) -> ImageLabeller: ...
@overload
def load(path: str | Path) -> Any: ...
def load(path: str | Path) -> Translator | TextLabeller | ImageLabeller:
    """The model in a folder, or one that ships by its name: `en-zh`, `en-zh-recurrent`, `reviews`
    or `images`.

    Returns:
        A `Translator`, or a classifier of texts (`TextLabeller`) or of pictures (`ImageLabeller`).

    Raises:
        TypeError: `path` is no str and no path.
        ValueError: there is no such folder, or it holds no model; it is named, with what is wrong.
    """
    if not isinstance(path, str | Path):
        raise TypeError(f"load: path must be a str or a pathlib.Path; got {type(path).__name__}")
    folder = model_folder(path)
    if not folder.is_dir():
        ships = ", ".join(sorted(entry.name for entry in MODELS.iterdir() if entry.is_dir()))
        raise ValueError(f"load: {path}: no such folder, and no model that ships ({ships})")
    found = read_format(folder)
    if found not in _KINDS:
        raise ValueError(f"load: {folder}: its format {found!r} is none that qkv can load")
    return _KINDS[found].load(folder)
