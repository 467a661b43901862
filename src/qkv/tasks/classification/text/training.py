"""From files of labelled texts to a trained classifier, and how good it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from qkv.models import TextClassifierConfig
from qkv.tasks import by_size
from qkv.tasks.classification.accuracy import Accuracy
from qkv.tasks.classification.labels import counted, numbered
from qkv.tasks.classification.text.kind import KIND
from qkv.tasks.classification.text.options import Data, Options
from qkv.tasks.classification.text.reading import (
    TextFile,
    read_texts,
    require_labels,
    split_texts,
)
from qkv.tasks.classification.text.task import TextTask
from qkv.tasks.kinds import loaded
from qkv.tasks.trainer.settings import Settings
from qkv.tasks.training import Training, require_batches


def train_text_classifier(
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
    """Trains a classifier of texts into `folder` and returns the figures of the last validation.

    Args:
        sizes: fields of `TextClassifierConfig`. With `settings.start_from` the sizes of that model
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
    training = Training(folder, settings, resume, say)
    trained = training.trained(KIND)
    options, sizes, left_open = training.as_begun(KIND, options, sizes, left_open)
    own = sizes.get("encoder", TextClassifierConfig.encoder)
    encoder = own if trained is None else trained.model.config.encoder
    if encoder != "attention":
        require_batches(settings, f"the encoder {encoder}")
    files, validation = (
        [read_texts(path) for path in paths] for paths in (data.train, data.validation)
    )
    for file in files:
        require_labels(file)
    if "validation_share" in left_open and not validation:
        share = by_size.held_out(sum(len(file.texts) for file in files), 0.1)
        data = replace(data, validation_share=share)
    split = split_texts(files, validation, data.share)
    _require_learnt(validation, sorted({one.label for one in split[0]}))
    task = TextTask(*split, options, sizes, settings.seed, trained, left_open, training.group)
    for file in [*files, *validation]:
        if file.skipped:
            training.say(
                f"{file.path}: {file.skipped} skipped, the first is line {file.first_skipped}"
            )
    training.say(
        f"{len(split[0]):,} training texts, {len(split[1]):,} for validation, "
        f"{len(task.labels)} labels, {task.tokens.size:,} tokens"
    )
    training.say(counted(one.label for part in split for one in part))
    if task.cut:
        longest = task.options.longest
        training.say(f"of {task.cut:,} training texts the first {longest} words are read")
    return training.run(task, data)


def _require_learnt(validation: list[TextFile], labels: list[str]) -> None:
    """Raise ValueError naming a file to validate on that has another label than those learnt."""
    for file in validation if labels else ():
        numbered((one.label for one in file.texts), labels, file.path)


def evaluate(model: Path | None, file: Path) -> Accuracy:
    """How often a saved classifier is right on a file of labelled texts (see `read_texts`).

    Raises:
        ValueError: model or file cannot serve, or a label is unknown to the model.
    """
    labeller, texts = loaded(model, KIND, "evaluate"), read_texts(file).texts
    expected = [one.label for one in texts]
    numbered(expected, labeller.labels, file)
    answers = labeller.classify([one.text for one in texts])
    return Accuracy.of([one.label or "" for one in answers], expected)
