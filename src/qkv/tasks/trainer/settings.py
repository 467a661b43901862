"""The settings of training for every task, and which of them a resumed run must keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qkv.models.options import Options, option

SCHEDULES = ("cosine", "inverse-square-root", "one-cycle")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("float32", "bf16")
LIMITS = ("epochs", "steps", "minutes")
BATCHES, SEQUENCES = SHARES = ("batches", "sequences")
WARMUP = 200
# What may change when a run is resumed: how long it lasts, and what it tells of itself.
_CHANGEABLE = (*LIMITS, "patience", "save_every", "log_every")


@dataclass(frozen=True)
class Settings(Options):
    """How to train. A run ends when it reaches the first of `epochs`, `steps` and `minutes` (at
    least one must be given), or after `patience` validations without a new best.

    Raises:
        ValueError: a value breaks its rule, no limit is given, or values exclude each other.
    """

    epochs: int | None = option(None, "Stop after so many epochs.", at_least=1)
    steps: int | None = option(None, "Stop after so many steps.", at_least=1)
    minutes: float | None = option(
        None, "Stop after so much training time, over all resumptions.", above=0
    )
    patience: int | None = option(
        None, "Stop after so many validations without a new best.", at_least=1
    )
    start_from: Path | None = option(
        None,
        "Trained model to start from, a folder or the name of one that ships, with its tokens and "
        "sizes; for other labels than its own its output layer is new.",
    )
    optimizer: str = option(
        "adamw",
        "AdamW, or Muon for the weights of linear and convolutional layers and AdamW for the rest.",
        choices=OPTIMIZERS,
    )
    learning_rate: float = option(2e-3, "Highest learning rate.", above=0)
    schedule: str = option(
        "cosine", "Course of the learning rate; cosine and one-cycle follow the limits.",
        choices=SCHEDULES,
    )  # fmt: skip
    warmup: int | None = option(
        None,
        f"Steps to reach the highest rate; default: {WARMUP}, and at most a tenth of the run; "
        "one-cycle has its own rise.",
        at_least=0,
    )
    weight_decay: float = option(
        0.01, "Pull of the weights towards zero, per unit of rate.", at_least=0
    )
    clip: float = option(1.0, "Bound of the gradient's norm.", above=0)
    accumulate: int = option(
        1, "Batches, in each process, whose gradients make one step.", at_least=1
    )
    share: str = option(
        BATCHES,
        "What several processes share: the batches of an epoch, or the sequences of every batch, "
        "which classifiers of texts with the encoder attention can.",
        choices=SHARES,
    )
    average: float = option(
        0.0, "Decay of the average of weights that is validated and saved; 0: the weights.",
        at_least=0, below=1,
    )  # fmt: skip
    precision: str | None = option(
        None, "Of products in training; float32 unless accelerate launch says otherwise.",
        choices=PRECISIONS,
    )  # fmt: skip
    cpu: bool = option(False, "Train on the processor, whatever accelerator there is.")
    seed: int = option(0, "Seed of weights, dropout and order.", at_least=0, below=2**32)
    save_every: int = option(500, "Steps between checkpoints.", at_least=1)
    log_every: int = option(50, "Steps between lines of the log.", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if all(getattr(self, name) is None for name in LIMITS):
            raise ValueError(f"Settings: at least one of {', '.join(LIMITS)} must be given")
        if self.schedule == "one-cycle" and self.warmup is not None:
            raise ValueError("Settings: warmup has no meaning with the schedule one-cycle")

    def progress(self, epochs: float, steps: int, minutes: float) -> float:
        """The share of a run that is over, from 0 to 1, by the limit that it reaches first."""
        limits = (self.epochs, self.steps, self.minutes)
        done = zip((epochs, steps, minutes), limits, strict=True)
        return min(1.0, max(now / limit for now, limit in done if limit is not None))

    def planned(self, batches: int, at_once: int = 1) -> int | None:
        """The steps of a run whose epochs have so many batches, of which so many processes each
        take another; None if the time alone ends it.

        Raises:
            ValueError: the given warm-up is longer than the run.
        """
        limits = [] if self.steps is None else [self.steps]
        if self.epochs is not None:
            limits.append(self.epochs * -(-batches // (self.accumulate * at_once)))
        steps = min(limits, default=None)
        if steps is not None and (self.warmup or 0) > steps:
            raise ValueError(
                f"train: warmup must end within the run, which has {steps} steps; got {self.warmup}"
            )
        return steps

    def identity(self) -> dict[str, Any]:
        """What must not change when a run is resumed: all but limits and reporting."""
        return {
            name: str(value) if isinstance(value, Path) else value  # a checkpoint holds no path
            for name, value in asdict(self).items()
            if name not in _CHANGEABLE
        }
