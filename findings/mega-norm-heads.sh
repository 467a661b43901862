#!/usr/bin/env bash
# Mega-pytorch 0.1.0: a causal `Mega` with `norm_mhesa_heads=True` looks ahead. The option norms the heads of its moving
# average by a group norm over all places of the text at once, so that each token knows what is written behind it. Without
# the option, and with its other kind of attention, nothing is seen that comes later.
# Seen: other tokens from place 10 on change the logits before it by less than 1e-5 by default and with
# laplacian_attn_fn=True, by more than 0.1 with norm_mhesa_heads=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 scipy==1.16.3 einops==0.8.1
"$folder/venv/bin/pip" install --quiet --no-deps Mega-pytorch==0.1.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from mega_pytorch import Mega

TOKENS, LENGTH, PLACE = 20, 16, 10
text = torch.randint(0, TOKENS, (1, LENGTH), generator=torch.Generator().manual_seed(0))
other = text.clone()
other[:, PLACE:] = (other[:, PLACE:] + 3) % TOKENS


@torch.no_grad()
def moved(**options):
    """By how much logits before the place change with the tokens from it on."""
    torch.manual_seed(0)
    sizes = dict(num_tokens=TOKENS, dim=16, depth=2, ema_heads=4, attn_dim_qk=8, attn_dim_value=16)
    model = Mega(causal=True, **sizes, **options).eval()
    return float((model(text) - model(other))[:, :PLACE].abs().max())


seen = {
    "default": moved(),
    "laplacian_attn_fn": moved(laplacian_attn_fn=True),
    "norm_mhesa_heads": moved(norm_mhesa_heads=True),
}
print("Mega-pytorch", version("Mega-pytorch"), {name: round(one, 6) for name, one in seen.items()})
assert seen["default"] < 1e-5 and seen["laplacian_attn_fn"] < 1e-5
assert seen["norm_mhesa_heads"] > 0.1
PYTHON
