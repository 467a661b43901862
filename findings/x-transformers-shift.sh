#!/usr/bin/env bash
# x-transformers 2.31.10 with torch 2.13.0: an `Encoder` with `shift_tokens=1` hands part of each token to its
# neighbours, padding's too: the padding mask reaches attention, not the shift. The last token of a text gets
# what stands in the padding behind it, so its vector depends on the longest text of the batch. Without the option
# nothing of the padding arrives.
# Seen: the change of tokens 0 to 3 of 6 when the padded two are exchanged: 0, 0, 0, 0.33 with, 0, 0, 0, 0 without.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 x-transformers==2.31.10
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from x_transformers import Encoder

seen = {}
mask = torch.tensor([[True] * 4 + [False] * 2])
for shift in (0, 1):
    torch.manual_seed(0)
    encoder = Encoder(dim=16, depth=1, heads=2, shift_tokens=shift).eval()
    text = torch.randn(1, 6, 16)
    other = text.clone()
    other[:, 4:] = torch.randn(1, 2, 16)
    with torch.no_grad():
        change = encoder(text, mask=mask) - encoder(other, mask=mask)
    seen[shift] = change.abs().amax(-1)[0, :4]
print(version("x-transformers"), torch.__version__, {s: v.tolist() for s, v in seen.items()})
assert (seen[0] < 1e-5).all()
assert (seen[1][:3] < 1e-5).all()
assert seen[1][3] > 1e-2
PYTHON
