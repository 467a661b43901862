#!/usr/bin/env bash
# torch 2.13.0: the derivative that `torch.func.linearize` returns is wrong where the function fills a tensor
# of its own in place, in ordinary eager code. What does not depend on the input is computed once, before
# the program runs, by its pure operations alone: an in-place write to it is left out, or it stays in the program
# and writes into the one stored tensor at every call. Value and `torch.func.jvp` are right.
# Seen: diag(2, 2, 2) @ x has the derivative [0, 0, 0] by linearize and [2, 2, 2] by jvp; y = m x + (m + 1) x
# with m filled in place has 3, then 7, then 11 at the same tangent, and 3 by jvp.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch


def diagonal(x):
    matrix = torch.zeros(3, 3)
    matrix.fill_diagonal_(2.0)
    return matrix @ x


def counted(x):
    factor = torch.zeros(3)
    factor.add_(1.0)
    first = factor * x
    factor.add_(1.0)
    return first + factor * x


x, tangent = torch.tensor([1.0, 2.0, 3.0]), torch.ones(3)
seen = {}
for function in (diagonal, counted):
    value, derivative = torch.func.linearize(function, x)
    right_value, right = torch.func.jvp(function, (x,), (tangent,))
    assert torch.equal(value, right_value)
    seen[function.__name__] = [derivative(tangent)[0].item() for _ in range(3)], right[0].item()
print(torch.__version__, seen)
assert seen["diagonal"] == ([0.0, 0.0, 0.0], 2.0)
assert seen["counted"] == ([3.0, 7.0, 11.0], 3.0)
PYTHON
