#!/usr/bin/env bash
# memory-efficient-attention-pytorch 0.1.6: one layer, computed with `memory_efficient=True` or without, is two
# functions. With `causal=True` and more keys than queries the plain way counts the queries from the end of the keys
# and the other from their start. The layer's `dropout` is not applied at all in the plain way; in the other it comes
# before the weights are divided by their sum, so that what is left is not scaled but sums to 1.
# Seen: 6 queries over 6 keys, both ways apart by 0.0; 2 queries over 6 keys by 0.337. In training with dropout 0.5
# two plain passes are apart by 0.0; the other way, values of ones give 1.0 at every place.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet memory-efficient-attention-pytorch==0.1.6 einops==0.8.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from memory_efficient_attention_pytorch import Attention
from memory_efficient_attention_pytorch.memory_efficient_attention import memory_efficient_attention

torch.manual_seed(0)
layer = Attention(dim=8, heads=2, dim_head=4, causal=True, dropout=0.5)
keys = torch.randn(1, 6, 8)
queries = keys[:, -2:]  # the newest two


def apart(one, other):
    return round(float((one - other).abs().max()), 4)


with torch.no_grad():
    layer.eval()
    square = apart(layer(keys), layer(keys, memory_efficient=True))
    plain = layer(queries, context=keys)
    longer = apart(plain, layer(queries, context=keys, memory_efficient=True))
    last = apart(plain, layer(keys)[:, -2:])
    layer.train()
    twice = apart(layer(keys), layer(keys))
    query, key = torch.randn(2, 1, 1, 64, 4)
    ones = torch.ones(1, 1, 64, 4)
    dropped = memory_efficient_attention(query, key, ones, dropout=0.5, training=True)
print(version("memory-efficient-attention-pytorch"), "6 queries over 6 keys, apart:", square)
print("2 queries over 6 keys, apart:", longer, "- the plain way from the last of 6:", last)
print("dropout 0.5 in training: two plain passes apart", twice, "- values of ones give", float(dropped.min()))
assert square < 1e-3
assert last < 1e-3 < 0.01 < longer
assert twice == 0
assert torch.allclose(dropped, ones, atol=1e-4)
PYTHON
