"""Small labelled data, runs over it that take a second, and a process that is killed in one."""

import os
import signal
import sys
from pathlib import Path

import numpy
import torch

from qkv.tasks.classification import learning
from qkv.tasks.classification.images import options as images
from qkv.tasks.classification.images.training import train_image_classifier
from qkv.tasks.classification.text import options as texts
from qkv.tasks.classification.text.training import train_text_classifier
from qkv.tasks.trainer.settings import Settings

GOOD, BAD = ("lovely", "brilliant", "moving"), ("awful", "dreadful", "boring")
SUBJECTS = ("film", "story", "actor", "song", "scene", "ending")
LINES = [
    f"{label}\tThe {subject} number {n} was {word} for me"
    for n, subject in enumerate(SUBJECTS)
    for label, words in (("pos", GOOD), ("neg", BAD))
    for word in words
]
TEXT_SIZES = {"encoder": "gru", "embedding": 16, "width": 16, "dropout": 0.1}
IMAGE_SIZES = {"channels": 4}
ATTENTION = TEXT_SIZES | {"encoder": "attention", "window": 3}


def write_texts(path: Path, lines=LINES) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def pictures(count=48, edge=16):
    """Pictures [N, edge, edge, 3] of noise with a bright square: red is label 0, blue is 1."""
    chance = numpy.random.default_rng(0)
    images = chance.integers(0, 90, (count, edge, edge, 3), dtype=numpy.uint8)
    labels = numpy.arange(count) % 2
    for image, label, (row, column) in zip(
        images, labels, chance.integers(2, edge - 6, (count, 2)), strict=True
    ):
        image[row : row + 4, column : column + 4, 2 * label] = 250
    return images, labels


def write_pictures(path: Path, edge=16, classes=("red", "blue")) -> Path:
    made, labels = pictures(edge=edge)
    numpy.savez(path, images=made, labels=labels, classes=classes)
    return path


def train_texts(path, folder, *, sizes=TEXT_SIZES, resume=False, say=lambda _: None, **settings):
    chosen = Settings(**({"epochs": 2, "save_every": 2, "average": 0.5} | settings))
    data = texts.Data([path], validation_share=0.3)
    pieces = {} if "start_from" in settings else {"pieces": 300}
    options = texts.Options(batch_tokens=60, **pieces)
    return train_text_classifier(data, folder, chosen, options, sizes, resume=resume, say=say)


def train_images(path, folder, *, sizes=IMAGE_SIZES, resume=False, say=lambda _: None, **settings):
    chosen = {"epochs": 2, "save_every": 2, "schedule": "one-cycle", "learning_rate": 0.01}
    data = images.Data(path, validation_share=0.3)
    options = images.Options(batch=8, shift=2)
    return train_image_classifier(
        data, folder, Settings(**(chosen | settings)), options, sizes, resume=resume, say=say
    )


RUNS = {"texts": train_texts, "images": train_images}
WRITERS = {"texts": write_texts, "images": write_pictures}
UNCERTAIN = {"texts": {"dropout": 0.0, "token_dropout": 0.0}, "images": {}}


if __name__ == "__main__":
    torch.set_num_threads(1)
    task, path, folder, killed = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    if killed == "killed":
        original, calls = learning.F.cross_entropy, []

        def cross_entropy(*arguments, **options):
            calls.append(1)
            if len(calls) == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        learning.F.cross_entropy = cross_entropy
        RUNS[task](path, folder)
    elif killed == "sequences":  # one of several that share those of every batch
        sizes = ATTENTION | UNCERTAIN["texts"]
        train_texts(path, folder, sizes=sizes, share="sequences", cpu=True, clip=0.1)
    else:  # one of several processes, without chance in the model
        sizes = {"texts": TEXT_SIZES, "images": {"architecture": "vit", "channels": 8, "heads": 2}}
        RUNS[task](path, folder, sizes=sizes[task] | UNCERTAIN[task], cpu=True, clip=0.1)
