"""What there is to choose in learning to classify texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkv.models.options import Options as Checked
from qkv.models.options import option

# Where they differ from those of all tasks; what is None the size of the data decides.
DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-3, "epochs": None, "validation_share": None, "batch_tokens": None,
}  # fmt: skip


@dataclass(frozen=True)
class Data(Checked):
    """Files of `label<TAB>text` lines: to `train` on, and to validate on.

    A text is held out for validation if a number in [0, 1) that depends on its words alone is below
    `validation_share`. Default: a tenth, or none if `validation` files are given.
    """

    train: list[Path]
    validation: list[Path] = option(list, "File of labelled texts to validate on; may be repeated.")
    validation_share: float | None = option(
        None, "Share of texts to validate on; none where files are given.",
        at_least=0, below=1,
    )  # fmt: skip

    @property
    def share(self) -> float:
        """The share of texts that is validated on; default: a tenth."""
        if self.validation_share is None:
            return 0.0 if self.validation else 0.1
        return self.validation_share


PIECES = 8000


@dataclass(frozen=True)
class Options(Checked):
    """How to learn to classify texts. What is None is the model's to start from, or the default
    where there is none."""

    pieces: int | None = option(
        None, f"Byte pairs that texts are cut into; default: {PIECES}.", at_least=256
    )
    longest: int | None = option(
        None,
        "Words of a text that are read; default: all of them, or as the model to start from.",
        at_least=1,
    )
    batch_tokens: int = option(8000, "Tokens of a batch, padding included.", at_least=1)
    label_smoothing: float = option(0.0, "Label smoothing.", at_least=0, below=1)
