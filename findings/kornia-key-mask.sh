#!/usr/bin/env bash
# kornia 0.9.0: LoFTR's `FullAttention` takes a mask of queries and one of keys, both optional, and looks at neither unless
# both are given: a mask of keys alone hides nothing. `LinearAttention`, its neighbour, hides by it. With both, padded
# queries become NaN, and these reach every real token in the next layer, as 0 · NaN is NaN.
# Seen: other values at hidden keys change the output by more than 1 (FullAttention) and by 0.0 (LinearAttention); with both
# masks two layers of the transformer with full attention give NaN everywhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 kornia_rs==0.2.0 kornia==0.9.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from kornia.feature.loftr.loftr_module.linear_attention import FullAttention, LinearAttention
from kornia.feature.loftr.loftr_module.transformer import LocalFeatureTransformer

torch.manual_seed(0)
query, key, value = (torch.randn(1, 5, 2, 4) for _ in range(3))
real = torch.tensor([[True, True, True, False, False]])
other = torch.where(real[:, :, None, None], value, value + 5)
moved = {}
for attention in (FullAttention(), LinearAttention()):
    found = [attention(query, key, one, kv_mask=real) for one in (value, other)]
    moved[type(attention).__name__] = round(float((found[0] - found[1]).abs().max()), 3)

layers = dict(d_model=8, nhead=2, layer_names=["self", "cross"], attention="full")
tokens = torch.randn(1, 5, 8)
with torch.no_grad():
    output, _ = LocalFeatureTransformer(layers)(tokens, tokens, real, real)
lost = output.isnan().any(-1)[0].tolist()
print("kornia", version("kornia"), "other values at hidden keys change the output by", moved)
print("both masks, two layers, NaN at each token:", lost)
assert moved["FullAttention"] > 1 and moved["LinearAttention"] == 0
assert all(lost)
PYTHON
