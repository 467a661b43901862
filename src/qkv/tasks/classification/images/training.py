"""From labelled pictures to a trained classifier, and how good it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from qkv.tasks import by_size
from qkv.tasks.classification.accuracy import Accuracy
from qkv.tasks.classification.images.data import read_pictures, split_pictures
from qkv.tasks.classification.images.kind import KIND
from qkv.tasks.classification.images.options import Data, Options
from qkv.tasks.classification.images.task import ImageTask
from qkv.tasks.classification.labels import counted, numbered
from qkv.tasks.kinds import loaded
from qkv.tasks.trainer.settings import Settings
from qkv.tasks.training import Training, require_batches


def train_image_classifier(
    data: Data,
    folder: Path,
    settings: Settings,
    options: Options,
    sizes: dict[str, Any],
    *,
    left_open: Collection[str] = (),
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, float]:
    """Trains a classifier of pictures into `folder` and returns the figures of the last validation.

    Args:
        sizes: fields of `ImageClassifierConfig`. With `settings.start_from` the sizes of that model
            are taken, except for dropout.
        left_open: the names of settings, options and sizes that the size of the data decides,
            whatever their values here (see `qkv.tasks.by_size`).
        resume: whether the run in `folder` goes on, with what the size of its data decided then.
        say: gets lines about the data and about what their size decided.

    Raises:
        ValueError: the data or `folder` cannot serve; the text names them.
        OSError: a file cannot be read or written.
        TrainingError: loss, gradient or weights are not finite.
    """
    require_batches(settings, KIND.name)
    training = Training(folder, settings, resume, say)
    trained = training.trained(KIND)
    options, sizes, left_open = training.as_begun(KIND, options, sizes, left_open)
    size = None if data.size is None else (data.size, data.size)
    pictures = read_pictures(data.train, size)
    if "validation_share" in left_open and data.validation is None:
        data = replace(data, validation_share=by_size.held_out(len(pictures.labels), 0.1))
    learnt, held = split_pictures(pictures, data.share)
    if data.validation is not None:
        held = read_pictures(data.validation, size)
        numbered(held.labels, sorted(set(learnt.labels)), data.validation)
    task = ImageTask(learnt, held, options, sizes, settings.seed, trained, left_open)
    height, width = task.train.shape[2:]
    training.say(
        f"{len(learnt.labels):,} training pictures, {len(held.labels):,} for validation, "
        f"{len(task.labels)} labels, {width}×{height} pixels"
    )
    training.say(counted([*learnt.labels, *held.labels]))
    return training.run(task, data)


def evaluate(model: Path | None, data: Path) -> Accuracy:
    """How often a saved classifier is right on labelled pictures (see `read_pictures`).

    Raises:
        ValueError: model or data cannot serve, or a label is unknown to the model.
    """
    labeller = loaded(model, KIND, "evaluate")
    pictures = read_pictures(data, labeller.size)
    numbered(pictures.labels, labeller.labels, data)
    answers = labeller.classify(pictures.images, pictures.labels)
    return Accuracy.of([one.label for one in answers], pictures.labels)
