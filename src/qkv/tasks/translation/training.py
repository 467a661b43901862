"""From files of sentence pairs to a trained translator, and how good it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qkv.tasks.files import write_atomic
from qkv.tasks.trainer import STATE, Settings, check_folder, train
from qkv.tasks.translation.bleu import Bleu, bleu, by_source
from qkv.tasks.translation.pairs import Pair, Shares, Split, read_pairs, split_pairs
from qkv.tasks.translation.task import Options, TranslationTask
from qkv.tasks.translation.translator import Translator

HELD_OUT = "held-out"


@dataclass(frozen=True)
class Data:
    """Files of sentence pairs: to train on, and held out for validation and test."""

    train: list[Path]
    validation: list[Path] = field(default_factory=list)
    test: list[Path] = field(default_factory=list)
    shares: Shares = field(default_factory=Shares)


def train_translator(
    data: Data,
    folder: Path,
    settings: Settings,
    options: Options,
    sizes: dict[str, Any],
    *,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train a translator into `folder` and return the last validation's figures.

    `sizes` are fields of `EncoderDecoderConfig`. The held-out pairs are written to
    `folder/training/held-out`, a file for each kind and file of origin. `say` gets what there is
    to say about the data.
    """
    check_folder(folder, resume)
    files, validation, test = (
        [read_pairs(path) for path in paths] for paths in (data.train, data.validation, data.test)
    )
    for file in [*files, *validation, *test]:
        if file.skipped:
            count = "1 line is" if file.skipped == 1 else f"{file.skipped} lines are"
            say(f"{file.path}: {count} no pair, the first is {file.first_skipped}")
    split = split_pairs(files, validation, test, data.shares)
    task = TranslationTask(split.train, interleave(split.validation), options, sizes, settings.seed)
    if not resume:
        write_held_out(folder / STATE / HELD_OUT, split)
    held = (sum(map(len, files.values())) for files in (split.validation, split.test))
    say(
        "{} training pairs, {} for validation, {} for test; {} left out as too long".format(
            len(task.train), *held, task.too_long
        )
    )
    say(f"{task.source.size} source tokens, {task.target.size} target tokens ({task.target.kind})")
    return train(task, folder, settings, resume=resume)


def evaluate(model: Path | None, file: Path, *, beam: int = 5, bootstrap: int = 1000) -> Bleu:
    """BLEU of a saved translator on a file of pairs; every distinct source counts once, with all
    its translations in the file as references. `bootstrap` 0 leaves the interval out."""
    sources = by_source(read_pairs(file).pairs)
    translator = Translator.load(model)
    outputs = [result.text for result in translator.translate(list(sources), beam)]
    return bleu(outputs, list(sources.values()), bootstrap=bootstrap)


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
