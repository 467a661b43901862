#!/usr/bin/env bash
# diffusers 0.42.1 with torch 2.13.0: `Attention(qk_norm=...)` normalizes queries and keys by its default
# processor alone. `set_attention_slice`, which is to save memory, and `AttnProcessor()`, the one that is set to get at the
# weights, leave both norms out and say nothing.
# Seen: the output changes by 1.0 with `qk_norm="rms_norm"`, by 7e-7 without, for both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 diffusers==0.42.1
"$folder/venv/bin/python" - <<'PYTHON'
import diffusers
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor


def changes(qk_norm):
    torch.manual_seed(0)
    attention = Attention(query_dim=32, heads=4, dim_head=8, qk_norm=qk_norm).eval()
    x = 3 * torch.randn(2, 6, 32)
    with torch.no_grad():
        default = attention(x)
        attention.set_attention_slice(2)
        sliced = attention(x)
        attention.set_processor(AttnProcessor())
        plain = attention(x)
    return [(other - default).abs().max().item() for other in (sliced, plain)]


normed, plain = changes("rms_norm"), changes(None)
print(diffusers.__version__, normed, plain)
assert max(plain) < 1e-5
assert min(normed) > 0.1
PYTHON
