"""What there is to choose in learning to classify pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkv.models.options import Options as Checked
from qkv.models.options import option

# Where they differ from those of all tasks; what is None the size of the data decides.
DEFAULTS: dict[str, Any] = {
    "optimizer": "muon", "learning_rate": 4e-3, "schedule": "one-cycle", "weight_decay": 0.8,
    "average": 0.99, "epochs": None, "validation_share": None, "batch": None, "channels": None,
}  # fmt: skip


@dataclass(frozen=True)
class Data(Checked):
    """Pictures to `train` on and to validate on: folders `class/file.png`, or `.npz` files.

    A picture is held out for validation if a number in [0, 1) that depends on its pixels alone is
    below `validation_share`. Default: a tenth, or none if `validation` pictures are given.

    Raises:
        ValueError: both `validation` and `validation_share` are given.
    """

    train: Path
    validation: Path | None = option(None, "Folder or .npz file of pictures to validate on.")
    validation_share: float | None = option(
        None, "Share of pictures to validate on; none where pictures are given.",
        at_least=0, below=1,
    )  # fmt: skip
    size: int | None = option(
        None, "Edge that pictures are brought to, cut to a square; default: as they are.",
        at_least=8,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation is not None and self.validation_share is not None:
            raise ValueError("Data: give validation or validation_share, not both")

    @property
    def share(self) -> float:
        """The share of pictures that is validated on; default: a tenth."""
        if self.validation_share is None:
            return 0.0 if self.validation else 0.1
        return self.validation_share


@dataclass(frozen=True)
class Options(Checked):
    """How to learn to classify pictures. `flips` of None are those of the model to start from, or
    true where there is none."""

    batch: int = option(256, "Pictures of a batch, at most.", at_least=1)
    flips: bool | None = option(
        None,
        "Show each picture mirrored in every other epoch, and classify by both sides of it; "
        "default: yes, or as the model to start from.",
    )
    shift: int = option(2, "Pixels by which pictures are shifted at most.", at_least=0)
    cutout: int = option(
        0, "Edge of a square of each picture, in pixels, that is blanked; 0: none.", at_least=0
    )
    label_smoothing: float = option(0.2, "Label smoothing.", at_least=0, below=1)
