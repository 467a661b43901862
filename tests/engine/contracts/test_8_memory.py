"""Contract 8: beyond inputs and outputs, memory is the working budget plus what grows with the
length, and never the matrix. Measured as the peak of a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEBIBYTE = 2**20
BUDGET = 4 * MEBIBYTE

# Prints how far the peak of a process rises, in bytes, by a forward and by a forward and backward
# pass at two lengths. What is loaded by first calls is loaded before.
MEASURE = f"""
import json, resource, sys, torch, qkv
kind, heads, width, *lengths = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(1)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def run(queries, keys, backward):
    query = torch.randn(1, heads, queries, width, requires_grad=backward)
    key = torch.randn(1, heads, keys, width, requires_grad=backward)
    factor = torch.ones(width, requires_grad=backward)
    scores = {{
        "additive": qkv.Additive(factor),
        "callable": lambda q, k, cells: (q * factor) @ k.mT - 1e-3 * (cells.row - cells.col).abs(),
    }}
    impl = "torch" if kind == "fused" else "tiled"
    options = dict(score=scores.get(kind), mask=qkv.Causal(), query_offset="start", impl=impl)
    output = qkv.attention(query, key, memory={BUDGET}, **options) @ key
    if backward:
        output.sum().backward()

short, queries, keys = lengths
for backward in (False, True):
    run(min(600, queries), 600, backward)
before, peaks = peak(), []
for queries, keys in ((min(short, queries), short), (queries, keys)):
    for backward in (False, True):
        run(queries, keys, backward)
        peaks.append(peak() - before)
print(json.dumps(peaks))
"""

# Kind, heads, width, a short length, queries, keys. The long matrix takes 64 MiB or more, in bools
# 16, and each cell of it `width` numbers where the score is additive.
CASES = [
    ("dot", 1, 64, 1024, 4096, 4096),
    ("dot", 8, 16, 512, 1536, 1536),
    ("fused", 1, 64, 1024, 4096, 4096),
    ("callable", 1, 16, 1024, 4096, 4096),
    ("additive", 1, 256, 1024, 64, 4096),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}, {case[1]} heads")
def test_no_matrix_is_built(case) -> None:
    _, heads, width, short, queries, keys = case
    command = [sys.executable, "-c", MEASURE, *map(str, case)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    peaks = iter(json.loads(done.stdout))
    for rows, cols in ((min(short, queries), short), (queries, keys)):
        row = 4 * heads * width
        forward = (2 * rows + cols) * row  # query, output, key
        backward = 2 * forward  # and their gradients
        for size in (forward, backward):
            extra = next(peaks) - size
            print(f"{case[0]} {rows} x {cols}: {extra / MEBIBYTE:.1f} MiB")
            assert extra < 2 * BUDGET + 6 * MEBIBYTE
