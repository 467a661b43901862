#!/usr/bin/env bash
# h-transformer-1d 0.1.9: the weights of `HAttention1D` and `CausalHAttention1D` do not sum to 1. Values of a coarse level are
# sums of several tokens, which count as one where the sum is divided by the weights; and from the scores of each level
# its own maximum is taken off, so that a far token that fits best weighs as much as one that does not.
# Seen: values that are all 1 come out as 2.0 where all scores are equal, as 1.8 to 2.6 where they are not, and as up to 5.2
# in causal attention; whether far tokens fit far better than near ones or far worse changes the output by 0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 einops==0.8.1
"$folder/venv/bin/pip" install --quiet --no-deps rotary-embedding-torch==0.9.1 h-transformer-1d==0.1.9
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from h_transformer_1d.h_transformer_1d import CausalHAttention1D, HAttention1D

WIDTH, LENGTH = 8, 64
torch.manual_seed(0)


def layer(kind, query_key, **options):
    """One whose values are the last feature, and which hands them out as they are."""
    attention = kind(WIDTH, heads=1, dim_head=WIDTH, block_size=4, **options).eval()
    value = torch.zeros(WIDTH, WIDTH)
    value[:, -1] = 1
    with torch.no_grad():
        attention.to_qkv.weight.copy_(torch.cat([query_key, value]))
        attention.to_out.weight.copy_(torch.eye(WIDTH))
        attention.to_out.bias.zero_()
    return attention


x = torch.randn(1, LENGTH, WIDTH)
x[..., -1] = 1  # every value is 1
random = torch.randn(2 * WIDTH, WIDTH)
with torch.no_grad():
    equal = layer(HAttention1D, torch.zeros_like(random))(x)[..., 0]
    free = layer(HAttention1D, random)(x)[..., 0]
    causal = layer(CausalHAttention1D, random, max_seq_len=LENGTH)(x)[..., 0]

    # Queries are 1 in the first channel; the second half of the keys fits by `fit`, and its values are 1, others 0.
    one = torch.zeros(2 * WIDTH, WIDTH)
    one[0, 0] = one[WIDTH, 1] = 1
    far = torch.zeros(1, LENGTH, WIDTH)
    far[..., 0], far[:, LENGTH // 2 :, -1] = 1, 1
    outputs = []
    for fit in (30.0, -30.0):
        far[:, LENGTH // 2 :, 1] = fit
        outputs.append(layer(HAttention1D, one)(far)[0, 0, 0])
moved = float((outputs[0] - outputs[1]).abs())

span = [[round(float(end), 2) for end in (y.min(), y.max())] for y in (equal, free, causal)]
print("h-transformer-1d", version("h-transformer-1d"), "values of 1 come out as", span[0], span[1], "causal", span[2])
print("far tokens fit far better or far worse, the first query's output changes by", moved)
assert span[0] == [2, 2]
assert span[1][0] > 1.5 and span[2][1] > 3
assert moved == 0
PYTHON
