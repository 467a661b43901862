#!/usr/bin/env bash
# x-transformers 2.31.10 with torch 2.13.0: a `Decoder` with `attn_orthog_projected_values=True` (or
# `attn_orthog_projected_values_per_head`, or `orthog_residual`) looks ahead. What is projected is meant to be one token's
# vector, but the whole sequence is flattened into one vector first, so every token depends on all that come after
# it, and in a padded batch on the padding.
# Seen: change of the first 8 of 12 tokens when the last 4 are exchanged: 0.04, 0.04 and 0.007; 0 without them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 x-transformers==2.31.10
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from x_transformers import Decoder


def change(**options):
    torch.manual_seed(0)
    decoder = Decoder(dim=32, depth=2, heads=4, attn_dim_head=8, **options).eval()
    x = torch.randn(1, 12, 32)
    exchanged = torch.cat([x[:, :8], torch.randn(1, 4, 32)], 1)
    with torch.no_grad():
        return (decoder(x) - decoder(exchanged))[:, :8].abs().max().item()


values, heads, residual, plain = (
    change(attn_orthog_projected_values=True),
    change(attn_orthog_projected_values_per_head=True),
    change(orthog_residual=True),
    change(),
)
print(version("x-transformers"), values, heads, residual, plain)
assert plain < 1e-6
assert min(values, heads, residual) > 1e-4
PYTHON
