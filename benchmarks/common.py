"""What the benchmarks share: timing in turn, the machine they ran on, whole files or none."""

from __future__ import annotations

import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from qkv.ground.files import write_atomic
from qkv.ground.processor import processor_info
from qkv.tasks.trainer.logs import logged
from qkv.tasks.trainer.run import STATE

ROOT = Path(__file__).resolve().parent.parent


def interleaved(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, called in turn."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    warming = max(1, rounds // 10)
    for turn in range(rounds + warming):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            if turn >= warming:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(samples) for name, samples in times.items()}


def machine() -> dict[str, str | int]:
    """Where the figures come from."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or "unknown",
    }


def processor() -> str:
    """The processor's name, as far as the system tells."""
    named = platform.processor() or platform.machine()
    return processor_info().get("model name", named)


def training_speeds(folder: Path) -> list[float]:
    """The items a second of each line of the log of a training of qkv's."""
    return [record["tokens_per_second"] for record in logged(folder / STATE, "train")]


def save(path: Path, content: str) -> None:
    """Writes a whole file or none."""
    write_atomic(path, content.encode())


def peak() -> int:
    """The largest resident size of this process so far, in bytes."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024
