#!/usr/bin/env bash
# labml-nn 0.5.1: `AlibiMultiHeadAttention` counts how far keys are by a sum over the mask of its first call, and
# keeps the biases that it made of it. Called with a causal mask and then with one that shows everything, as where a
# decoder's layer becomes an encoder's, it answers otherwise than a layer that never saw the causal one.
# Seen: a full mask alone and behind a causal one, apart by more than 0.01; a causal mask twice, apart by 0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet labml==0.5.3 labml-helpers==0.4.89 einops==0.8.1 numpy==2.3.4
"$folder/venv/bin/pip" install --quiet --no-deps labml-nn==0.5.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from labml_nn.transformers.alibi import AlibiMultiHeadAttention

LENGTH = 12
full = torch.ones(LENGTH, LENGTH, 1, dtype=torch.bool)
causal = full[..., 0].tril().unsqueeze(-1)
torch.manual_seed(0)
layer = AlibiMultiHeadAttention(2, 8, 0.0).eval()
x = 3 * torch.randn(LENGTH, 1, 8)


def answers(*masks):
    """Those of a layer that has not been called before."""
    layer.alibi_biases = None
    return [layer(query=x, key=x, value=x, mask=mask) for mask in masks]


with torch.no_grad():
    (alone,), (_, behind) = answers(full), answers(causal, full)
    first, second = answers(causal, causal)
apart, same = float((alone - behind).abs().max()), float((first - second).abs().max())
print(version("labml-nn"), "full mask, alone and behind a causal one, apart:", round(apart, 3))
print("causal mask twice, apart:", same)
assert apart > 0.01
assert same == 0
PYTHON
