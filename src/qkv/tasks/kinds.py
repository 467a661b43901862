"""All kinds of models, which of them a folder holds, and how it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from qkv.tasks.classification.images.kind import KIND as IMAGES
from qkv.tasks.classification.text.kind import KIND as TEXTS
from qkv.tasks.kind import Kind
from qkv.tasks.model_folders import MODELS, model_folder, read_format
from qkv.tasks.translation.kind import KIND as TRANSLATIONS

if TYPE_CHECKING:
    from qkv.tasks.classification import ImageLabeller, TextLabeller
    from qkv.tasks.translation import Translator

KINDS = (TRANSLATIONS, TEXTS, IMAGES)
_BY_FORMAT = {kind.format: kind for kind in KINDS}


class AbsentModelError(FileNotFoundError, ValueError):
    """There is no model folder at a path."""


def loaded(path: Path | None, kind: Kind, function: str) -> Any:
    """The model in a folder, or a shipped model by its name; None: the shipped model of this kind.

    Raises:
        ValueError: it is of another kind, or as for `kind_of`; the text begins with `function`.
    """
    if path is not None and (actual := kind_of(path, function)) is not kind:
        raise ValueError(f"{function}: {path} is {actual.name}, not {kind.name}")
    return kind.model.load(path)


def kind_of(path: str | Path, function: str) -> Kind:
    """The kind of the model in a folder, or of a shipped model by its name.

    Raises:
        AbsentModelError: there is no such folder; the text begins with `function`.
        ValueError: the folder holds no model that qkv knows; likewise.
    """
    folder = model_folder(path)
    if not folder.is_dir():
        ships = ", ".join(sorted(entry.name for entry in MODELS.iterdir() if entry.is_dir()))
        raise AbsentModelError(
            f"{function}: {path}: no such folder, and no model that ships ({ships})"
        )
    model_format = read_format(folder)
    if model_format not in _BY_FORMAT:
        raise ValueError(
            f"{function}: {folder}: its format {model_format!r} is none that qkv can load"
        )
    return _BY_FORMAT[model_format]


@overload
def load(path: Literal["en-zh", "en-zh-recurrent"]) -> Translator: ...
@overload
def load(path: Literal["reviews"]) -> TextLabeller: ...
@overload
def load(path: Literal["images"]) -> ImageLabeller: ...
@overload
def load(path: str | Path) -> Any: ...
def load(path: str | Path) -> Translator | TextLabeller | ImageLabeller:
    """Loads the model in a folder, or a shipped model by its name: `en-zh`, `en-zh-recurrent`,
    `reviews` or `images`.

    Returns:
        A `Translator`, or a classifier of texts (`TextLabeller`) or of pictures (`ImageLabeller`).

    Raises:
        TypeError: `path` is no str and no `pathlib.Path`.
        ValueError: there is no such folder (then it is a FileNotFoundError too), or it holds no
            model; the text names it and says what is wrong.
    """
    if not isinstance(path, str | Path):
        raise TypeError(f"load: path must be a str or a pathlib.Path; got {type(path).__name__}")
    return kind_of(path, "load").model.load(path)
