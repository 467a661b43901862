"""From files of sentence pairs to a trained translator, and how good it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from qkv.ground.files import write_atomic
from qkv.tasks import by_size
from qkv.tasks.kinds import loaded
from qkv.tasks.trainer.run import STATE
from qkv.tasks.trainer.settings import Settings
from qkv.tasks.training import Training, require_batches
from qkv.tasks.translation.bleu import TOO_SHORT, Bleu, Comparison, bleu, by_source, compare
from qkv.tasks.translation.kind import KIND
from qkv.tasks.translation.options import BEAM, RESAMPLINGS, Data, Options
from qkv.tasks.translation.pairs import Pair, Split, read_pairs, split_pairs
from qkv.tasks.translation.task import TranslationTask
from qkv.tasks.translation.varied import Drawing

HELD_OUT = "held-out"


def train_translator(
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
    """Trains a translator into `folder` and returns the figures of the last validation.

    It writes the held-out pairs to `folder/training/held-out`, a file for each use and file of
    origin.

    Args:
        sizes: fields of `SequenceToSequenceConfig`. With `settings.start_from` the sizes of that
            model are taken, except for dropout.
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
    files, validation, test = (
        [read_pairs(path) for path in paths] for paths in (data.train, data.validation, data.test)
    )
    for file in [*files, *validation, *test]:
        if file.skipped:
            count = "1 line is" if file.skipped == 1 else f"{file.skipped} lines are"
            training.say(f"{file.path}: {count} no pair, the first is {file.first_skipped}")
    if "validation_share" in left_open and not validation:
        share = by_size.held_out(sum(len(file.pairs) for file in files), 0.02)
        data = replace(data, validation_share=share * (1 - data.test_share))
    split = split_pairs(files, validation, test, data.validation_share, data.test_share)
    train = [pair for pairs in split.train for pair in pairs]
    task = TranslationTask(
        train, interleave(split.validation), options, sizes, settings.seed, trained, left_open,
        _drawing(data, split, options),
    )  # fmt: skip
    if training.main and not resume:
        write_held_out(folder / STATE / HELD_OUT, split)
    held = (sum(map(len, files.values())) for files in (split.validation, split.test))
    training.say(
        "{} training pairs, {} for validation, {} for test; {} left out as too long".format(
            len(task.train), *held, task.too_long
        )
    )
    training.say(
        f"{task.source.size} source tokens, {task.target.size} target tokens ({task.target.kind})"
    )
    if task.best == "chrf":
        training.say(f"{TOO_SHORT}: chrF chooses the model")
    return training.run(task, data)


def _drawing(data: Data, split: Split, options: Options) -> Drawing | None:
    """What an epoch takes of the pairs; None: each as it stands."""
    if data.names is not None and not options.vary:
        raise ValueError("train: --names has no meaning without --vary")
    if not data.times and not options.vary:
        return None
    times = [n for n, pairs in zip(data.times, split.train, strict=False) for _ in pairs]
    names = {} if data.names is None else dict(read_pairs(data.names).pairs)
    return Drawing(times, options.vary, names)


def evaluate(
    model: Path | None,
    file: Path,
    *,
    beam: int = BEAM,
    length_penalty: float | None = None,
    bootstrap: int = RESAMPLINGS,
    against: Path | None = None,
) -> Bleu | Comparison:
    """BLEU of a saved translator on a file of pairs, or its comparison with the translator
    `against`. Every distinct source counts once, with all its translations in the file as
    references. With `bootstrap` 0 there is no interval.

    Raises:
        ValueError: model or file cannot serve, or `bootstrap` is 0 for a comparison.
    """
    if against is not None and not bootstrap:
        raise ValueError("evaluate: bootstrap must be at least 1 to compare two models; got 0")
    sources = by_source(read_pairs(file).pairs)
    texts, references = list(sources), list(sources.values())
    paths = [model] if against is None else [model, against]
    translators = [loaded(path, KIND, "evaluate") for path in paths]
    outputs, *others = [
        [
            translation.text
            for translation in one.translate(texts, beam, length_penalty=length_penalty)
        ]
        for one in translators
    ]
    if not others:
        return bleu(outputs, references, bootstrap=bootstrap)
    return compare(outputs, others[0], references, bootstrap=bootstrap)


def write_held_out(folder: Path, split: Split) -> None:
    """Write what is held out: a file for each use and file of origin."""
    for use, files in (("validation", split.validation), ("test", split.test)):
        for name, pairs in files.items():
            lines = "".join(f"{pair.source}\t{pair.target}\n" for pair in pairs)
            write_atomic(folder / f"{use}.{name}.tsv", lines.encode())


def interleave(files: dict[str, list[Pair]]) -> list[Pair]:
    """Pairs of every file in turn, so that the first few are of all of them."""
    queues = [list(reversed(pairs)) for pairs in files.values()]
    rounds = range(max(map(len, queues), default=0))
    return [queue.pop() for _ in rounds for queue in queues if queue]
