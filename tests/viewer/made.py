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


def capture_of(
    length: int, layers: int = 2, tokens: list[str] | None = None, seed: int = 7
) -> Capture:
    """Self-attention of made numbers, causal."""
    torch.manual_seed(seed)
    capture = Capture()
    for layer in range(layers):
        query, key = (2 * torch.randn(1, 3, length, 16) for _ in range(2))
        matrix = qkv.attention(query, key, mask=qkv.Causal())
        capture.calls.append(Call(f"layers.{layer}", "self", 0, matrix, 1e-7, "made"))
    capture.label(tokens or [f"w{place}" for place in range(length)])
    return capture


def pair_of(source: list[str], target: list[str]) -> Capture:
    """One layer each of an encoder, a decoder and what is between them."""
    torch.manual_seed(8)
    capture = Capture()
    tokens = {"encoder": source, "decoder": target}
    for module, kind, queries, keys in (
        ("encoder.layers.0", "self", source, source),
        ("decoder.layers.0", "self", target, target),
        ("decoder.layers.0.cross", "cross", target, source),
    ):
        mask = qkv.Causal() if module == "decoder.layers.0" else None
        query, key = (2 * torch.randn(1, 2, len(side), 16) for side in (queries, keys))
        matrix = qkv.attention(query, key, mask=mask)
        capture.calls.append(Call(module, kind, 0, matrix, None, "made"))
    for side, own in tokens.items():
        capture.label(own, side=side)
    return capture


def patches_of(rows: int, columns: int) -> Capture:
    """Self-attention of the patches of a picture, behind one token."""
    torch.manual_seed(9)
    capture = Capture()
    query, key = (2 * torch.randn(1, 2, 1 + rows * columns, 16) for _ in range(2))
    capture.calls.append(Call("layers.0", "self", 0, qkv.attention(query, key), None, "made"))
    picture = torch.arange(rows * columns * 3 * 64, dtype=torch.int64) % 251
    capture.label_image(picture.view(8 * rows, 8 * columns, 3).to(torch.uint8), (rows, columns))
    return capture


@contextmanager
def looking(*arguments: Path | str) -> Iterator[str]:
    """The address of `qkv look` on these arguments."""
    with served(*arguments) as (address, _):
        yield address


@contextmanager
def served(*arguments: Path | str) -> Iterator[tuple[str, int]]:
    """The address of `qkv look` on these arguments, and the number of its process. It must end
    cleanly when it is interrupted."""
    command = [sys.executable, "-m", "qkv", "look", "--no-open", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    try:
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
