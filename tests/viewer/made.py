"""Captures made for the viewer's tests, and `qkv look` as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import qkv
from qkv.capture.call import Call
from qkv.capture.capture import Capture

# Tokens that would be something else than text, or hide, or turn others about.
HOSTILE = [
    "<img src=x onerror=document.title='taken'>",
    "</script><script>document.title='taken'</script>",
    "\u202eabc", "\x00\x1b[31m", "x" * 5000, "שלום", "&lt;b&gt;", "",
]  # fmt: skip


def capture_of(length: int, layers: int = 2, tokens: list[str] | None = None) -> Capture:
    """Self-attention of made numbers, causal."""
    torch.manual_seed(7)
    capture = Capture()
    for layer in range(layers):
        query, key = (2 * torch.randn(1, 3, length, 16) for _ in range(2))
        matrix = qkv.attention(query, key, mask=qkv.Causal())
        capture.calls.append(Call(f"layers.{layer}", "self", 0, matrix, 1e-7, "made"))
    capture.label(tokens or [f"w{place}" for place in range(length)])
    return capture


@contextmanager
def looking(*arguments: Path | str) -> Iterator[str]:
    """The address of `qkv look` on these arguments. It must end cleanly when it is interrupted."""
    command = [sys.executable, "-m", "qkv", "look", "--no-open", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    try:
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
