#!/usr/bin/env bash
# sinkhorn-transformer 0.11.4: in attention that is not causal the sorted buckets bring keys in the place of their values:
# what is summed for them is the keys again. Values count within the own bucket alone. Where keys come in other buckets than
# queries (`kv_bucket_size`, as for a context), only sorted ones are looked at, and no value has any effect.
# Seen: other values everywhere but in the first bucket change it by 0.0, other keys by more than 0.1; with other buckets of
# keys, other values change the whole output by 0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 einops==0.8.1 local-attention==1.11.2 product-key-memory==0.3.0 \
    CoLT5-attention==0.11.2 axial-positional-embedding==0.3.12 packaging==25.0
"$folder/venv/bin/pip" install --quiet --no-deps sinkhorn-transformer==0.11.4
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from sinkhorn_transformer.sinkhorn_transformer import SinkhornAttention

BUCKET, LENGTH, WIDTH, HEADS = 4, 16, 8, 2
torch.manual_seed(0)
query, key, value = (torch.randn(1, HEADS, LENGTH, WIDTH) for _ in range(3))


def elsewhere(x):
    """Another x behind the first bucket."""
    return torch.cat([x[:, :, :BUCKET], x[:, :, BUCKET:] + 5], 2)


def layer(**options):
    return SinkhornAttention(BUCKET, HEADS * WIDTH, WIDTH, HEADS, LENGTH, **options).eval()


attend = layer()
first = [attend(query, *given)[:, :, :BUCKET] for given in (
    (key, value), (key, elsewhere(value)), (elsewhere(key), value),
)]
by_values, by_keys = (float((first[0] - one).abs().max()) for one in first[1:])
context = layer(kv_bucket_size=2 * BUCKET)
anywhere = float((context(query, key, value) - context(query, key, value + 5)).abs().max())

print(version("sinkhorn-transformer"), "first bucket: other values elsewhere change it by", by_values)
print("other keys elsewhere:", round(by_keys, 2), "other buckets of keys, other values:", anywhere)
assert by_values == anywhere == 0
assert by_keys > 0.1
PYTHON
