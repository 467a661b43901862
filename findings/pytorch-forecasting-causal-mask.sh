#!/usr/bin/env bash
# pytorch-forecasting 1.8.0: `FullAttention(use_efficient_attention=True)`, TimeXer's, given the library's own
# `TriangularCausalMask`. The mask is True where a key is hidden, and is handed to torch's function, which reads True
# as "may look": each time sees the later ones alone, and the last sees nothing. Without a mask it is causal as it should be.
# Seen: with no mask time 0 sees time 0 and time 4 all five; with the mask time 0 sees times 1 to 4, time 4 none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet pytorch-forecasting==1.8.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from pytorch_forecasting.layers import FullAttention, TriangularCausalMask

LENGTH = 5
torch.manual_seed(0)
query, key, value = (torch.randn(1, LENGTH, 2, 4) for _ in range(3))
attention = FullAttention(use_efficient_attention=True).eval()


def seen(mask):
    """The times that each time sees: those whose values change what it gives."""
    def change(time):
        other = value.clone()
        other[:, time] += 1
        found = [attention(query, key, one, mask)[0] for one in (value, other)]
        return (found[0] - found[1]).abs().amax((0, 2, 3)) > 1e-6

    table = torch.stack([change(time) for time in range(LENGTH)], 1)
    return [row.nonzero().flatten().tolist() for row in table]


alone, masked = seen(None), seen(TriangularCausalMask(1, LENGTH))
print("pytorch-forecasting", version("pytorch-forecasting"), "no mask, times seen:", alone)
print("TriangularCausalMask:", masked)
assert alone == [list(range(time + 1)) for time in range(LENGTH)]
assert masked == [list(range(time + 1, LENGTH)) for time in range(LENGTH)]
PYTHON
