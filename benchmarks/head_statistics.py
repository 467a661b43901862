"""What the statistics of a layer's heads cost beside its forward pass.

    python benchmarks/head_statistics.py
    python benchmarks/head_statistics.py --tokens 8192 --causal

The forward pass is the model's own attention, torch's `scaled_dot_product_attention` of the same
query, key and value; the statistics are all that `qkv.heads` takes: one sweep, on the same threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

import qkv
from qkv.capture.statistics import statistics_of


def seconds(run: Callable[[], object], repeats: int) -> float:
    """The shortest of some runs."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    """Prints both times and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--causal", action="store_true", help="queries see the keys before them")
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, asked.heads, asked.tokens, asked.width)
    mask = qkv.Causal() if asked.causal else None
    matrix = qkv.attention(query, key, mask=mask)
    separators = torch.arange(asked.tokens)[None] % 100 == 99
    with torch.no_grad():
        forward = seconds(
            lambda: F.scaled_dot_product_attention(query, key, value, is_causal=asked.causal),
            asked.repeats,
        )
        found = seconds(lambda: statistics_of(matrix, True, separators), asked.repeats)
    kind = "causal" if asked.causal else "full"
    print(
        f"{asked.tokens:,} tokens, {asked.heads} heads, width {asked.width}, {kind}, "
        f"{torch.get_num_threads()} threads: forward {forward:.2f} s, statistics {found:.2f} s, "
        f"{found / forward:.2f} times the forward pass"
    )


if __name__ == "__main__":
    main()
