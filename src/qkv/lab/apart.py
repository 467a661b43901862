"""Measuring in a process of its own, so that memory and threads are those of one call alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

_PROGRAM = "from qkv.lab.apart import answer; answer()"


def apart(function: str, **arguments: Any) -> dict[str, Any]:
    """Calls `module:function` with JSON values in a new process and returns the dict it returns.

    Raises:
        RuntimeError: the process failed; the text has the last line that it wrote.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps([function, arguments]),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise RuntimeError(f"{function}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def answer() -> None:
    """The new process: reads what to call, and writes what that returns."""
    function, arguments = json.load(sys.stdin)
    print(json.dumps(resolve_name(function)(**arguments)))


def peak_memory() -> int | None:
    """The most bytes that this process ever had in memory; None where the system does not tell."""
    status = Path("/proc/self/status")  # what `resource` tells includes the process that began this
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [line for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(peaks[0].split()[1]) if peaks else None
