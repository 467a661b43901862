"""What there is to choose in learning to translate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkv.models.options import Options as Checked
from qkv.models.options import option
from qkv.tasks.tokens import KINDS

# Where they differ from those of all tasks; what is None the size of the data decides.
DEFAULTS: dict[str, Any] = {
    "average": 0.998, "learning_rate": None, "epochs": None, "validation_share": None,
    "batch_tokens": None, "width": None, "feedforward": None, "encoder_layers": None,
    "decoder_layers": None, "dropout": None,
}  # fmt: skip


BEAM, RESAMPLINGS = 5, 1000  # in measuring a translator
PIECES, LONGEST, LENGTH_PENALTY = 6000, 60, 1.0  # of a translator that starts from none


@dataclass(frozen=True)
class Data(Checked):
    """Files of sentence pairs: to `train` on, and held out for validation and test.

    A source sentence is held out by a number in [0, 1) that depends on its words alone: for the
    test below `test_share`, for validation in the `validation_share` next to that. Given files
    are held out whole, in addition.
    """

    train: list[Path]
    validation: list[Path] = option(list, "File of pairs to validate on; may be repeated.")
    test: list[Path] = option(list, "File of pairs kept for testing; may be repeated.")
    times: list[float] = option(
        list,
        "How often an epoch takes the pairs of a training file, such as 2 or 0.25; given once for "
        "each file, in their order.",
    )
    names: Path | None = option(
        None, "File of names and their translations, as pairs, that --vary puts marks for."
    )
    validation_share: float = option(
        0.02, "Share of source sentences to validate on.", at_least=0, below=1
    )
    test_share: float = option(
        0.0, "Share of source sentences kept for testing.", at_least=0, below=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                "Data: validation_share and test_share must leave something to train on"
            )
        if self.times and (
            len(self.times) != len(self.train) or not all(0 < n < math.inf for n in self.times)
        ):
            raise ValueError(
                f"Data: times must be a positive number for each of {len(self.train)} training "
                f"files; got {self.times}"
            )


@dataclass(frozen=True)
class Options(Checked):
    """How to learn to translate. What is None is the model's to start from, or the default where
    there is none."""

    source_pieces: int | None = option(
        None, f"Byte pairs of the source; default: {PIECES}.", at_least=256
    )
    target_tokens: str | None = option(
        None, "Tokens of the target; default: characters for Chinese, else pieces.", choices=KINDS
    )
    target_pieces: int | None = option(
        None, f"Byte pairs of the target; default: {PIECES}.", at_least=256
    )
    longest: int | None = option(
        None,
        "Pairs with more tokens on a side are left out, and sentences cut in use; default: "
        f"{LONGEST}, or as the model to start from.",
        at_least=8,
    )
    batch_tokens: int = option(4096, "Target tokens of a batch.", at_least=1)
    vary: float = option(
        0.0,
        "Share of pairs whose source lacks the full stop or question mark at its end, and of words "
        "on both sides, and of --names, that marks stand for; marks then stand for every number, "
        "address and code on both sides, and the translator takes over these and unheard-of names.",
        at_least=0,
        below=1,
    )  # fmt: skip
    label_smoothing: float = option(0.1, "Label smoothing.", at_least=0, below=1)
    length_penalty: float | None = option(
        None,
        "Length penalty that the model's beam search will use; higher prefers longer ones; "
        f"default: {LENGTH_PENALTY}, or as the model to start from.",
        at_least=0,
    )
    validation_sentences: int = option(
        500, "Sentences that are translated to measure BLEU after each epoch.", at_least=1
    )
