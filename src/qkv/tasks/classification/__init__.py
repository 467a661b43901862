"""Classification of texts and of pictures: learning it, using it, and where the model looked."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.tasks.classification.images.classifier import ClassifiedImage as ClassifiedImage
    from qkv.tasks.classification.images.classifier import ImageLabeller as ImageLabeller
    from qkv.tasks.classification.text.classifier import ClassifiedText as ClassifiedText
    from qkv.tasks.classification.text.classifier import TextLabeller as TextLabeller

_HOMES = {
    "ClassifiedImage": "images.classifier",
    "ClassifiedText": "text.classifier",
    "ImageLabeller": "images.classifier",
    "TextLabeller": "text.classifier",
}
__all__ = ["ClassifiedImage", "ClassifiedText", "ImageLabeller", "TextLabeller"]


def __getattr__(name: str) -> Any:  # so that the command reads the options without torch
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
