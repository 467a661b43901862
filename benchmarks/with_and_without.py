"""Does attention help a small CNN? The network with it, and without it but with as many parameters,
are trained for the same time from several seeds. Needs what `.[tasks]` brings.

    python benchmarks/with_and_without.py TRAIN TEST RUNS [--seeds 3] [--minutes 20] [--threads N]

TRAIN and TEST are what `qkv train classify-image` reads. The two of a seed are trained at the same
time, on half of the processors each unless told, so that whatever else the machine does takes from
both; seed after seed, in folders below RUNS. Called again, it goes on where it was stopped. What
follows `--` is handed to `qkv train classify-image`. The figures go to RUNS/figures.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import machine, save

from qkv.tasks.classification.images.training import evaluate
from qkv.tasks.trainer.run import CHECKPOINT, STATE

WITH, WITHOUT = ARCHITECTURES = ("attention-cnn", "cnn")
# Of Student's distribution, two-sided 95 %, by degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--seeds", type=int, default=3, choices=range(2, len(STUDENT) + 2))
    parser.add_argument("--minutes", type=float, default=20.0, help="of training, each")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    own, others = split(sys.argv[1:])
    given = parser.parse_args(own)
    options = ["--minutes", str(given.minutes), "--threads", str(given.threads), *others]
    accuracies: dict[str, list[float]] = {name: [] for name in ARCHITECTURES}
    for seed in range(given.seeds):
        folders = {name: given.runs / f"{name}-{seed}" for name in ARCHITECTURES}
        train(folders, given.train, [*options, "--seed", str(seed)])
        for name, folder in folders.items():
            accuracies[name].append(accuracy(folder, given.test))
        print(f"seed {seed}:", {name: shares[-1] for name, shares in accuracies.items()})
    found = {"options": options, "accuracies": accuracies, **difference(accuracies)}
    save(
        given.runs / "figures.json",
        json.dumps({"machine": machine(), "figures": found}, indent=1) + "\n",
    )
    print(table(found))


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments before `--` and those behind it."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:end], arguments[end + 1 :]


def train(folders: dict[str, Path], data: Path, options: list[str]) -> None:
    """Train the architectures, each in its folder and at the same time, where they are not yet."""
    command = [sys.executable, "-m", "qkv", "train", "classify-image", str(data), *options]
    running = []
    for name, folder in folders.items():
        if done(folder).exists():
            continue
        own = ["--architecture", name, "--out", str(folder)]
        if (folder / STATE / CHECKPOINT).exists():
            own.append("--resume")
        running.append(subprocess.Popen([*command, *own]))
    statuses = [process.wait() for process in running]
    if any(statuses):
        raise SystemExit("with_and_without: a run failed; what it says is above")


def accuracy(folder: Path, test: Path) -> float:
    """Of the model in a folder: the share of right answers."""
    file = done(folder)
    if not file.exists():
        found = evaluate(folder, test)
        save(file, json.dumps({"right": found.right, "count": found.count}) + "\n")
    counted = json.loads(file.read_text())
    return counted["right"] / counted["count"]


def done(folder: Path) -> Path:
    """The file that tells of a finished run."""
    return folder.with_name(f"{folder.name}.json")


def difference(accuracies: dict[str, list[float]]) -> dict[str, Any]:
    """What attention adds, a mean over seeds with its 95 % interval: pairs share a seed."""
    pairs = zip(accuracies[WITH], accuracies[WITHOUT], strict=True)
    gains = [a - b for a, b in pairs]
    mean = statistics.fmean(gains)
    spread = STUDENT[len(gains) - 2] * statistics.stdev(gains) / math.sqrt(len(gains))
    return {"difference": mean, "interval": [mean - spread, mean + spread]}


def table(found: dict[str, Any]) -> str:
    """The figures in per cent."""
    lines = []
    for name, shares in found["accuracies"].items():
        each = ", ".join(f"{100 * share:.2f}" for share in shares)
        lines.append(f"{name:14} {100 * statistics.fmean(shares):6.2f} %   of {each}")
    low, high = (100 * bound for bound in found["interval"])
    lines.append(f"{'difference':14} {100 * found['difference']:6.2f}     [{low:.2f}, {high:.2f}]")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
