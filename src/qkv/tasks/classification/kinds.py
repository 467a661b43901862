"""Which kind of classifier a folder holds."""

from __future__ import annotations

from pathlib import Path

from qkv.tasks.classification.images.classifier import FORMAT as IMAGES
from qkv.tasks.classification.text.classifier import FORMAT as TEXTS
from qkv.tasks.files import read_format


def kind_of_classifier(folder: Path) -> str:
    """`texts` or `images`: what the classifier in a folder reads.

    Raises ValueError naming the folder where it holds neither.
    """
    kinds = {TEXTS: "texts", IMAGES: "images"}
    found = read_format(folder)
    if found not in kinds:
        raise ValueError(f"{folder}: not a classifier: its format is {found!r}")
    return kinds[found]
