#!/usr/bin/env bash
# local-attention 1.11.2: `window_size=4` with `causal=True` does not show each query the same number of
# keys. The sequence is cut into buckets of 4 and a query sees its bucket up to itself and the whole bucket before:
# 5 to 8 keys, by its place in the bucket. (`exact_windowsize=True` makes it 5 keys for all.)
# Seen: keys per query 1 2 3 4 5 6 7 8 5 6 7 8 5 6 7 8.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet local-attention==1.11.2
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
from local_attention import LocalAttention


def keys_seen(**options):
    layer = LocalAttention(
        dim=8, window_size=4, causal=True, look_backward=1, look_forward=0, dropout=0.0,
        use_rotary_pos_emb=False, **options,
    )
    query = torch.zeros(1, 1, 16, 8)
    weights = layer(query, query, torch.eye(16)[None, None])
    return (weights[0, 0] > 0).sum(-1).tolist()


buckets, exact = keys_seen(), keys_seen(exact_windowsize=True)
print(version("local-attention"), buckets, exact)
assert buckets == [1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8]
assert exact == [1, 2, 3, 4] + [5] * 12
PYTHON
