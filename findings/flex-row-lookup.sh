#!/usr/bin/env bash
# torch 2.13.0: a score_mod of flex_attention that looks a bias up by row first, table[head][i - j + 4], runs forward
# and fails in the backward pass; table[head, i - j + 4], the same number, has a gradient.
# Seen: "idx shape torch.Size([2]) must match value shape torch.Size([9])".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import torch
from torch.nn.attention.flex_attention import flex_attention

warnings.simplefilter("ignore")  # it warns that it is not compiled
torch.manual_seed(0)
query, key, value = (torch.randn(1, 2, 5, 4) for _ in range(3))
table = torch.randn(2, 9, requires_grad=True)


def by_row(score, batch, head, i, j):
    return score + table[head][i - j + 4]


def by_pair(score, batch, head, i, j):
    return score + table[head, i - j + 4]


first, second = (flex_attention(query, key, value, mod) for mod in (by_row, by_pair))
assert torch.equal(first, second)
second.sum().backward()
assert table.grad is not None
assert table.grad.abs().sum() > 0
try:
    first.sum().backward()
    raise SystemExit("the backward pass ran")
except AssertionError as error:
    print(torch.__version__, error)
PYTHON
