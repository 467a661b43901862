"""A task that is no translation: fit a line with a network that drops units."""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from qkv.tasks.trainer.run import train
from qkv.tasks.trainer.settings import Settings
from qkv.tasks.trainer.task import Loss


@dataclass
class Toy:
    """`broken` is the number of the batch, over all, whose loss is not a number; `killed` the
    step in which the process is killed."""

    broken: int | None = None
    killed: int | None = None
    data: str = "line"
    best = "accuracy"
    unit = "points"

    def __post_init__(self):
        self.calls, self.figures = 0, []

    def identity(self):
        return {"data": self.data}

    def model(self):
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))

    def batches(self, epoch):
        generator = torch.Generator().manual_seed(epoch)
        return [torch.randn(5, 2, generator=generator) for _ in range(4)]

    def loss(self, model, batch):
        self.calls += 1
        if self.calls == self.killed:
            os.kill(os.getpid(), signal.SIGKILL)
        error = model(batch)[:, 0] - batch.sum(1)
        total = error.square().sum()
        return Loss(total * torch.nan if self.calls == self.broken else total, len(batch))

    def validate(self, model):
        points = torch.linspace(-1, 1, 10, dtype=model[0].weight.dtype).view(5, 2)
        error = (model(points)[:, 0] - points.sum(1)).square().mean().item()
        self.figures.append(-error)
        return {"accuracy": -error}

    def save(self, model, folder):
        folder.mkdir(exist_ok=True)
        torch.save(model.state_dict(), folder / "best.pt")


def settings(**limits):
    return Settings(**(limits or {"epochs": 3}), warmup=2, save_every=3, log_every=1)


def weights(folder: Path):
    """Model and optimisers of the last checkpoint, flat."""
    state = torch.load(folder / "training" / "last.pt")
    entries = [entry for one in state["optimizers"] for entry in one["state"].values()]
    moments = [moment for entry in entries for moment in entry.values()]
    return [*state["model"].values(), *moments, *state["random"][0]]


def records(folder: Path):
    """What the log says, without what depends on the clock."""
    lines = (folder / "training" / "log.jsonl").read_text().splitlines()
    timed = ("minutes", "points_per_second")
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    """Up to the rounding of several processes."""
    kept = [value for value in weights(one) if value.is_floating_point()]
    expected = [value for value in weights(other) if value.is_floating_point()]
    torch.testing.assert_close(kept, expected, rtol=1e-9, atol=1e-12)
    best, other_best = (torch.load(folder / "best.pt") for folder in (one, other))
    torch.testing.assert_close(best, other_best, rtol=1e-9, atol=1e-12)
    for record, wanted in zip(records(one), records(other), strict=True):
        assert record.pop("kind") == wanted["kind"]
        assert record == pytest.approx({k: wanted[k] for k in record}, rel=1e-9)


class Uneven(Toy):
    """Without chance in the model, in float64, and with batches that fill no step of two, of
    different sizes."""

    def model(self):
        return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def batches(self, epoch):
        generator = torch.Generator().manual_seed(epoch)
        sizes = (5, 3, 4, 2, 1)
        return [torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in sizes]


if __name__ == "__main__":  # a process to be killed, or one of several
    torch.set_num_threads(1)
    kind, folder, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if kind == "killed":
        train(Toy(killed=number), folder, settings(), quiet=True)
    else:
        chosen = Settings(epochs=3, warmup=2, log_every=1, average=0.5, cpu=True)
        train(Uneven(broken=number or None), folder, chosen, resume=kind == "resumed")
