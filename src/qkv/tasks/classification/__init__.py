"""Classification of texts and of pictures: training, use, and where the model looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv._later import named_later

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

# So that the command reads the options without waiting for torch.
__getattr__, __dir__ = named_later(__name__, _HOMES)
