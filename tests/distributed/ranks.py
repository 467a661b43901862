"""Several processes over gloo: started together, and what each of them found."""

import json
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
LIMIT = 120  # seconds for all of them together


def start(script: str, count: int, *arguments: str) -> tuple[list[subprocess.Popen], Path]:
    """Starts `count` processes of a script here, and the folder where they write."""
    folder = Path(tempfile.mkdtemp())
    command = [sys.executable, str(FOLDER / script)]
    places = [[str(rank), str(count), str(folder), *arguments] for rank in range(count)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return [subprocess.Popen([*command, *place], **pipes) for place in places], folder


def found_by(script: str, count: int, *arguments: str) -> list[dict]:
    """What each process of a script has found."""
    processes, folder = start(script, count, *arguments)
    ended = finished(processes)
    assert all(status == 0 for status, _ in ended), "\n".join(text for _, text in ended)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]


def finished(processes: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """The status and the output of each, none of which outlives the limit."""
    end = time.monotonic() + LIMIT
    try:
        texts = [p.communicate(timeout=max(1, end - time.monotonic()))[0] for p in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, texts, strict=True)]


def joined() -> tuple[int, int, Path, list[str]]:
    """Makes this process a rank: its number, how many there are, where it writes, and what else it
    was given."""
    rank, count, folder, *others = sys.argv[1:]
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=int(rank),
        world_size=int(count),
        timeout=timedelta(seconds=30),
    )
    return int(rank), int(count), Path(folder), others


def write(rank: int, folder: Path, found: dict) -> None:
    """Leaves what a rank found to the test that started it."""
    (folder / f"{rank}.json").write_text(json.dumps(found))
