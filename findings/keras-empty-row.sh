#!/usr/bin/env bash
# keras 3.15.1 with torch 2.13.0 or jax 0.10.2: what a query that may see nothing gets from `MultiHeadAttention` and
# `GroupQueryAttention` depends on what else is asked for: the mean of all values, hidden ones included, by
# default; nothing (the bias of the last projection) where scores are returned, or where the layer has a dropout,
# in inference too.
# Seen: the output of such a query is up to 0.56 by default (torch), 0 with `return_attention_scores=True` or `dropout=0.1`;
# those of the other queries are the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet torch==2.13.0 keras==3.15.1 jax==0.10.2
for backend in torch jax; do
KERAS_BACKEND=$backend "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
from keras import layers

x = np.random.default_rng(0).normal(size=(1, 4, 8)).astype("float32")
mask = np.ones((1, 4, 4), dtype=bool)
mask[0, 1] = False  # query 1 may see nothing
kinds = {
    layers.MultiHeadAttention: {"num_heads": 2, "key_dim": 4},
    layers.GroupQueryAttention: {"head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2},
}


def output(kind, *, scores=False, **options):
    keras.utils.set_random_seed(0)
    given = kind(**kinds[kind])
    given.build(x.shape, x.shape)
    layer = kind(**kinds[kind], **options)
    layer.build(x.shape, x.shape)
    layer.set_weights(given.get_weights())
    got = layer(x, x, attention_mask=mask, return_attention_scores=scores, training=False)
    return keras.ops.convert_to_numpy(got[0] if scores else got)[0]


for kind in kinds:
    plain, scored, dropped = output(kind), output(kind, scores=True), output(kind, dropout=0.1)
    empty = [np.abs(rows[1]).max().item() for rows in (plain, scored, dropped)]
    others = max(np.abs(np.delete(plain - rows, 1, 0)).max() for rows in (scored, dropped))
    print(keras.__version__, keras.backend.backend(), kind.__name__, empty, others.item())
    assert empty[0] > 0.1
    assert empty[1] == empty[2] == 0
    assert others < 1e-5
PYTHON
done
