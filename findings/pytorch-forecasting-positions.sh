#!/usr/bin/env bash
# pytorch-forecasting 1.8.0: `PositionalEncoder` of the temporal fusion transformer adds positions to its input with gradients
# switched off, so that nothing before it learns. And its sines are not those of the paper: the exponent goes by twice the
# channel, so that waves lengthen twice as fast, and the cosine has another wave than the sine beside it.
# Seen: the output of an input that requires a gradient requires none; at position 50 of 8 channels the encoding is up to
# 1.44 off the paper's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet pytorch-forecasting==1.8.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from pytorch_forecasting.models.temporal_fusion_transformer.sub_modules import PositionalEncoder

WIDTH, LENGTH = 8, 60
encoder = PositionalEncoder(WIDTH, max_seq_len=LENGTH)
x = torch.randn(LENGTH, 1, WIDTH, requires_grad=True)
learns = encoder(x).requires_grad

angles = torch.arange(LENGTH).unsqueeze(1) / 10000 ** (torch.arange(0, WIDTH, 2) / WIDTH)
paper = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
found = encoder(torch.zeros(LENGTH, 1, WIDTH))[:, 0]
off = (found - paper).abs()
pairs = found[:, 0::2].square() + found[:, 1::2].square()  # 1 where sine and cosine are of one angle

print("pytorch-forecasting", version("pytorch-forecasting"), "a gradient reaches the input:", learns)
print("off the paper's at position 50, by channel:", [round(one, 2) for one in off[50].tolist()])
print("sine² + cosine² of each pair there:", [round(one, 2) for one in pairs[50].tolist()])
assert not learns
assert off[50].max() > 0.5
assert (pairs[50] - 1).abs().max() > 0.1
PYTHON
