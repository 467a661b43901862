#!/usr/bin/env bash
# torch 2.13.0: in training `nn.MultiheadAttention` hands out the attention weights *after* dropout. They are
# not what the layer looked at: rows do not sum to 1, links that the softmax found are 0 and the others are
# too large. In eval mode they are the weights.
# Seen: row sums from 0.0 to 2.0 in training with dropout 0.5, 1.0 in eval mode.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import torch

torch.manual_seed(0)
layer = torch.nn.MultiheadAttention(32, 4, dropout=0.5, batch_first=True)
inputs = torch.randn(1, 6, 32)
sums = {}
for training in (True, False):
    layer.train(training)
    _, weights = layer(inputs, inputs, inputs, average_attn_weights=False)
    sums[training] = weights.sum(-1)
print(torch.__version__, "training", sums[True].min().item(), sums[True].max().item(),
      "eval", sums[False].min().item())
assert (sums[True] - 1).abs().max() > 0.1
assert (sums[False] - 1).abs().max() < 1e-5
PYTHON
