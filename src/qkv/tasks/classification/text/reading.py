"""Labelled texts: reading them, and splitting them so that nothing validated on is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from qkv.tasks.classification.labels import held_of_learnt, shortened
from qkv.tasks.lines import FormError, read_lines
from qkv.tasks.shares import sentence_key, sentence_share

BAD_SHARE = 0.01
_FEW_LABELS = 20


class LabelledText(NamedTuple):
    """A text and its class."""

    label: str
    text: str


@dataclass(frozen=True)
class TextFile:
    """The texts of a file, and its lines that are none."""

    path: Path
    texts: list[LabelledText]
    skipped: int
    first_skipped: int | None


def read_texts(path: Path) -> TextFile:
    """Reads lines of `label<TAB>text` or `label<TAB>id<TAB>text`, UTF-8, also gzipped (`.gz`).

    The first line that is not empty decides between the two forms. A line of another form, or
    without a label or a text, is skipped and counted.

    Raises:
        FormError: (a ValueError) more than one line in a hundred is bad, there is no text, or there
            are more different labels than texts; the text names the file and the first bad line.
        OSError: the file cannot be read.
    """
    texts, bad, lines, fields = [], [], 0, 0
    for number, line in read_lines(path):
        lines += 1
        parts = [part.strip() for part in line.split("\t")]
        fields = fields or min(max(len(parts), 2), 3)
        if len(parts) == fields and parts[0] and parts[-1]:
            texts.append(LabelledText(parts[0], parts[-1]))
        else:
            bad.append(number)
    if len(bad) > BAD_SHARE * lines:
        form = "label<TAB>id<TAB>text" if fields == 3 else "label<TAB>text"
        raise FormError(
            f"{path}: line {bad[0]} is not {form}, or its text is empty "
            f"({len(bad)} of {lines} lines are like that)"
        )
    if not texts:
        raise FormError(f"{path}: no labelled texts")
    labels, different = ({part[side] for part in texts} for side in (0, 1))
    if len(labels) > len(different):
        raise FormError(
            f"{path}: lines must be label<TAB>text; the columns seem swapped: there are "
            f"{len(labels)} different labels, such as {shortened(texts[0].label)}, and "
            f"{len(different)} different texts"
        )
    return TextFile(path, texts, len(bad), bad[0] if bad else None)


def require_labels(file: TextFile) -> None:
    """Checks that labels are no sentences.

    Raises:
        FormError: there are more labels than half of the lines, so that nothing can be learnt, and
            either they are many or most of them have several words.
    """
    labels = {one.label for one in file.texts}
    if len(labels) <= max(2, len(file.texts) / 2):
        return
    phrases = sum(" " in label for label in labels)
    if len(labels) > _FEW_LABELS or phrases > len(labels) / 2:
        raise FormError(
            f"{file.path}: lines must be label<TAB>text; these look like source<TAB>target, from "
            f"which qkv train translate learns: {len(labels)} different labels, such as "
            f"{shortened(file.texts[0].label)}, for {len(file.texts)} lines"
        )


def split_texts(
    files: list[TextFile], validation: list[TextFile], share: float
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Texts to train on and texts to validate on; none, but for case and punctuation, is both. A
    text of a label that no text would be left to learn from is not drawn."""
    held = [text for file in validation for text in file.texts]
    given = {sentence_key(one.text) for one in held}
    texts = [text for file in files for text in file.texts]
    keys = [sentence_key(one.text) for one in texts]
    drawn = [sentence_share(one.text) < share for one in texts]
    drawn = held_of_learnt([one.label for one in texts], keys, drawn, given)
    train = []
    for one, key, out in zip(texts, keys, drawn, strict=True):
        if out:
            held.append(one)
        elif key not in given:
            train.append(one)
    return train, held
