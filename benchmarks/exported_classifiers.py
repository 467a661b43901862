"""Exported classifiers beside the saved ones: the same labels.

    QKV_SHARED=DIR python benchmarks/exported_classifiers.py [--count 400]

The classifiers that ship are exported and label reviews of `text/imdb.test.tsv.gz` and pictures of
`images/cifar10_jpeg_test.npz` in that folder, spread evenly over each file, in batches of several
lengths.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor

import qkv
from qkv.tasks.buckets import padded
from qkv.tasks.classification.images.data import read_pictures
from qkv.tasks.classification.text.classifier import first_words
from qkv.tasks.classification.text.reading import read_texts
from qkv.tasks.onnx_models import Session, write_export

BATCH = 64

Answers = list[tuple[str, float]]  # label and probability


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=os.environ.get("QKV_SHARED"))
    parser.add_argument("--count", type=int, default=400)
    asked = parser.parse_args()
    if asked.shared is None:
        parser.error("--shared or QKV_SHARED must name the folder of the data")
    for name, compare in {"reviews": reviews, "images": images}.items():
        with tempfile.TemporaryDirectory() as out:
            write_export(name, out)
            model = Session(Path(out) / "model.onnx")
            saved, exported = compare(asked.shared, asked.count, model)
        same = sum(one[0] == other[0] for one, other in zip(saved, exported, strict=True))
        differences = (abs(a[1] - b[1]) for a, b in zip(saved, exported, strict=True))
        print(
            f"{name}: {same} of {len(saved)} have the same label; "
            f"probabilities differ by {max(differences):.1e} at most"
        )


def spread(count: int, total: int) -> list[int]:
    """Places that are spread evenly over so many."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


def reviews(shared: Path, count: int, model: Session) -> tuple[Answers, Answers]:
    """What the saved and the exported classifier say of texts."""
    labeller = qkv.load("reviews")
    texts = [one.text for one in read_texts(shared / "text" / "imdb.test.tsv.gz").texts]
    texts = [texts[i] for i in spread(count, len(texts))]
    saved = [(str(one.label), float(one.probability or 0)) for one in labeller.classify(texts)]
    cut = [" ".join(first_words(text, labeller.longest)) for text in texts]
    rows = []
    numbers = labeller.tokens.encode(cut)
    for place in range(0, len(numbers), BATCH):
        tokens, lengths = padded(numbers[place : place + BATCH])
        rows += model(tokens=tokens, lengths=lengths)["probabilities"]
    return saved, answers(rows, labeller.labels)


def images(shared: Path, count: int, model: Session) -> tuple[Answers, Answers]:
    """What the saved and the exported classifier say of pictures."""
    labeller = qkv.load("images")
    pictures = read_pictures(shared / "images" / "cifar10_jpeg_test.npz", labeller.size)
    pictures = pictures.select(spread(count, len(pictures.labels)))
    saved = [
        (one.label, one.probability) for one in labeller.classify(pictures.images, pictures.labels)
    ]
    rows = []
    for part in pictures.images.split(BATCH):
        rows += model(images=part.float())["probabilities"]
    return saved, answers(rows, labeller.labels)


def answers(rows: list[Tensor], labels: list[str]) -> Answers:
    """The likeliest label of each, and its probability."""
    return [(labels[int(row.argmax())], float(row.max())) for row in rows]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
