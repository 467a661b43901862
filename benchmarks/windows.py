"""What a sliding window costs beside full attention.

    python benchmarks/windows.py

A window of 256 keys, causal and centred, against full attention by the same engine and by torch's
kernels, and against torch's kernels with the window as a mask. One head of width 64, float32. The
window is checked against the float64 oracle on some queries first; then all are timed in turn in
one process, and medians are compared. Then every operation and derivative of a window of 101 keys
at three lengths. The figures are written to docs/windows.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from common import ROOT, interleaved, machine, save
from torch import Tensor
from window_costs import table

import qkv

TABLE = ROOT / "docs" / "windows.md"
WIDTH = 64
MASKS = {
    "window of 256 behind": qkv.Window(255, 0),
    "window of 256 around": qkv.Window(127, 128),
}
MASKED_UP_TO = 2**28  # cells: a mask of floats takes four bytes for each

Contenders = dict[str, Callable[[], object]]


def contenders(inputs: tuple[Tensor, Tensor, Tensor]) -> Contenders:
    """Every way to compute it, by name."""
    query, key, value = inputs
    length = query.shape[-2]

    def by_qkv(mask: qkv.Window, **options: Any) -> Callable[[], Tensor]:
        return lambda: qkv.attend(query, key, value, mask=mask, **options)

    made: Contenders = {name: by_qkv(mask) for name, mask in MASKS.items()}
    if length**2 <= MASKED_UP_TO:
        row, col = torch.arange(length)[:, None], torch.arange(length)
        shown = (col <= row) & (col > row - 256)
        made["torch SDPA, the window as a mask"] = lambda: F.scaled_dot_product_attention(
            query, key, value, attn_mask=shown
        )
    made["full, impl=tiled"] = lambda: qkv.attend(query, key, value, impl="tiled")
    made["full, torch SDPA"] = lambda: F.scaled_dot_product_attention(query, key, value)
    return made


def check(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    """Raises where a window differs from the oracle."""
    length = inputs[0].shape[-2]
    rows = slice(length - 1024, length)
    for mask in MASKS.values():
        found = qkv.attend(*inputs, mask=mask)[..., rows, :]
        query, key, value = (tensor[..., length - 2048 :, :].double() for tensor in inputs)
        oracle = qkv.attend(query, key, value, mask=mask, impl="reference")[..., 1024:, :]
        torch.testing.assert_close(found.double(), oracle, rtol=1e-5, atol=1e-6)


def with_backward(inputs: tuple[Tensor, Tensor, Tensor], made: Contenders) -> Contenders:
    """The same with all gradients."""

    def both(call: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(call().sum(), inputs)

    return {name: both(call) for name, call in made.items()}  # pyright: ignore


def rows(length: int, rounds: int) -> list[str]:
    """The lines of the table for one length."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 1, length, WIDTH) for _ in range(3))
    check((query, key, value))
    forward = interleaved(contenders((query, key, value)), rounds)
    tracked = query.requires_grad_(), key.requires_grad_(), value.requires_grad_()
    both = interleaved(with_backward(tracked, contenders(tracked)), rounds)
    first = next(iter(forward))
    lines = []
    for name in forward:
        cells = [f"{1e3 * times[name]:,.0f} ms" for times in (forward, both)]
        ratios = [f"{times[name] / times[first]:.1f}" for times in (forward, both)]
        parts = [f"{length:,}", name, cells[0], ratios[0], cells[1], ratios[1]]
        lines.append(f"| {' | '.join(parts)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192, 32768])
    parser.add_argument("--long", type=int, nargs="+", default=[2**16, 2**18, 2**20])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    lines = [line for length in options.lengths for line in rows(length, options.rounds)]
    costs = "\n".join(table(options.long, options.rounds))
    where, body = machine(), "\n".join(lines)
    save(
        TABLE,
        f"""# Sliding windows

What a window of 256 keys costs beside full attention: one head of width 64, float32, medians of
{options.rounds} calls in turn in one process, and how many times as long each takes as the first.

| length | what | forward | | with backward | |
|---:|---|---:|---:|---:|---:|
{body}

What `Window(100, 0)` costs by length: one head of width 16, float32, the least of up to
{options.rounds} calls, and the exponent of the length that fits them best; 1 is a cost that grows
with what is shown, 2 one that grows with the square. A backward is one with its forward. Documents
are masks of their own, of 100 keys each. At 65,536 everything fits into the processor's caches, at
1,048,576 nothing does, and the system hands out its memory anew for each call: the row of torch,
cell by cell and so linear by construction, says what exponent this alone makes.

{costs}

Made by `python benchmarks/windows.py` on {where["processor"]}, {where["threads"]} threads, torch
{where["torch"]}, Python {where["python"]}, commit {where["commit"]}.
""",
    )


if __name__ == "__main__":
    main()
