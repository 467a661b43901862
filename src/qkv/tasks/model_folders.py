"""Model folders: what they hold, how they are written and read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkv.ground.files import json_bytes, write_together
from qkv.ground.reading import json_value

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from qkv.tasks.kind import Kind

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
STATE = "training"  # the folder in it of the training that makes it
MODELS = Path(__file__).parents[1] / "weights"


def write_model(
    folder: Path,
    config: dict[str, Any],
    tokenizer: dict[str, Any] | None,
    weights: dict[str, Tensor],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model folder: `config.json`, `model.safetensors` and, for a model that reads text,
    `tokenizer.json`.

    `dtype` is what the weights are stored in (`qkv.tasks.stored`); None leaves them as they are. A
    full disk leaves the folder as it was; other files in it stay.
    """
    from qkv._extras import needed
    from qkv.tasks.stored import stored

    content = needed("safetensors.torch").save(stored(weights, dtype), metadata={"format": "pt"})
    contents = {CONFIG: json_bytes(config)}
    if tokenizer is not None:
        contents[TOKENIZER] = json_bytes(tokenizer)
    write_together(folder, contents | {WEIGHTS: content})  # the config appears last


def read_model(
    folder: Path, *, text: bool = True
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Read what `write_model` wrote: config, tokenizer (empty but for a model that reads `text`),
    and weights, in float32.

    Raises ValueError naming the folder and what is wrong with it.
    """
    from qkv._extras import needed
    from qkv.tasks.stored import restored

    safetensors = needed("safetensors.torch")
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a model folder: no such directory")
    names = (CONFIG, TOKENIZER, WEIGHTS) if text else (CONFIG, WEIGHTS)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: not a model folder: {', '.join(missing)} missing")
    config = read_json(folder, CONFIG)
    tokenizer = read_json(folder, TOKENIZER) if text else {}
    try:
        contents = safetensors.load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors has its own error, which is no subclass to name
        raise ValueError(f"{folder}: {WEIGHTS} cannot be read: {error}") from error
    try:
        return config, tokenizer, restored(contents)
    except ValueError as error:
        raise ValueError(f"{folder}: {WEIGHTS}: {error}") from error


def model_folder(path: str | Path) -> Path:
    """The folder itself; where there is none that is a model or becomes one, that of the model of
    this name which ships."""
    folder = Path(path)
    shipped = MODELS / folder.name
    named = folder.name == str(path) and not any((folder / one).exists() for one in (CONFIG, STATE))
    return shipped if named and shipped.is_dir() else folder


def read_format(path: str | Path) -> str:
    """What kind of model a folder holds, by its `config.json`; empty where it does not say."""
    folder = model_folder(path)
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a model folder: no such directory")
    return str(read_json(folder, CONFIG).get("format", ""))


@contextmanager
def loading(folder: Path, kind: Kind, config: dict[str, Any]) -> Iterator[None]:
    """Make whatever is wrong with a model, which should be of this kind, say so in the folder's
    name."""
    try:
        if config.get("format") != kind.format:
            raise ValueError(f"its format is {config.get('format')!r}, not {kind.format!r}")
        yield
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{folder}: not {kind.name} that qkv can load: {reason}") from error


def member(config: dict[str, Any], name: str, kind: type, default: Any = None) -> Any:
    """What a config says of a name: of this kind, or the default where it says nothing.

    Raises ValueError naming it where it is of another kind.
    """
    value = config.get(name, default)
    if value is not default and type(value) is not kind:
        raise ValueError(f"{name} must be of type {kind.__name__}; got {value!r}")
    return value


def labels_of(config: dict[str, Any]) -> list[str]:
    """The labels of a classifier, of which none stands twice.

    Raises ValueError where they are none.
    """
    labels = config["labels"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"labels must be a list of texts; got {labels!r}")
    if len(set(labels)) < len(labels):
        raise ValueError(f"labels must be different ones; got {labels!r}")
    return labels


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of a folder.

    Raises ValueError naming both where there is none.
    """
    path = folder / name
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file")
        value = json_value(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: {name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{folder}: {name} must hold a JSON object; got {type(value).__name__}")
    return value
