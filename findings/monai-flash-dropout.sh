#!/usr/bin/env bash
# monai 1.6.1: with `use_flash_attention=True`, `SABlock` and `CrossAttentionBlock`, and with them `TransformerBlock` and
# the networks made of it, drop weights in evaluation too: `dropout_rate` is handed to torch's function in either mode. A model
# in `eval()` gives another answer at each call. Without flash attention the same layers drop in training alone.
# Seen: with dropout_rate=0.5, in eval mode, two calls on one input are apart by 0.0 by default, by more than 0.1 with it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 einops==0.8.1 monai==1.6.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from monai.networks.blocks import CrossAttentionBlock, SABlock

torch.manual_seed(0)
x = torch.randn(1, 6, 8)
for block in (SABlock, CrossAttentionBlock):
    apart = {}
    for flash in (False, True):
        torch.manual_seed(1)
        layer = block(8, 2, dropout_rate=0.5, use_flash_attention=flash).eval()
        with torch.no_grad():
            apart[flash] = round(float((layer(x) - layer(x)).abs().max()), 3)
    print("monai", version("monai"), block.__name__, "eval mode, two calls apart, by flash attention:", apart)
    assert apart[False] == 0
    assert apart[True] > 0.1
PYTHON
