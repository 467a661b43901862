"""Classifiers of qkv that read a text or a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import qkv
from qkv.tasks.classification import ImageLabeller, TextLabeller
from qkv.tasks.classification.images.reading import read_picture as pixels_of
from qkv.tasks.tokens import END_TEXT
from qkv.viewer.subject import Source

from .titles import named, titled

_MOST_PIXELS = 512  # to a side of the picture that is shown


def read_text(labeller: TextLabeller, text: str) -> list[Source]:
    """The attention of a text that is classified."""
    with qkv.observe(labeller.model) as capture:
        [answer] = labeller.classify([text])
    if answer.left_out:
        count = len(answer.words)
        print(f"qkv: the first {count:,} of {count + answer.left_out:,} words are read",
              file=sys.stderr)  # fmt: skip
    cut = " ".join(answer.words)
    pieces = [cut[start:stop].strip() for start, stop in labeller.tokens.offsets(cut)]
    capture.label([*pieces, END_TEXT])
    return [Source(f"{titled(text)} – {answer.label}", capture)]


@torch.no_grad()
def read_picture(labeller: ImageLabeller, file: str) -> list[Source]:
    """The attention of a picture that is classified, without its mirror image.

    Raises:
        ValueError: the file is no picture, or the model has no attention.
        OSError: it cannot be opened.
    """
    model, size = labeller.model, labeller.size
    pixels = pixels_of(Path(file), file, size)
    with qkv.observe(model) as capture:
        features = model.read(pixels[None].to(model.output.weight.device))
        label = labeller.labels[int(model.decide(features).argmax())]
    if not capture.calls:
        raise ValueError("look: this classifier has no attention")
    shown = pixels_of(Path(file), file, size, finer=_MOST_PIXELS // max(size))
    capture.label_image(shown, (features.shape[2], features.shape[3]))
    return [Source(f"{named(file)} – {label}", capture)]
