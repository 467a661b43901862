#!/usr/bin/env bash
# keras 3.15.1: `RMSNormalization` does not hand the padding mask on, `LayerNormalization` does. Who exchanges one
# for the other, or for `x + y` instead of `layers.Add`, has attention that looks at padding from there on, without
# an error or a warning.
# Seen: weight on padding behind LayerNormalization 0.00, RMSNormalization 0.55, x + x 0.50, Add 0.00.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np

keras.utils.set_random_seed(0)
embedding = keras.layers.Embedding(10, 8, mask_zero=True)
attention = keras.layers.MultiHeadAttention(2, 4)
parts = {
    "LayerNormalization": keras.layers.LayerNormalization(),
    "RMSNormalization": keras.layers.RMSNormalization(),
    "Add": lambda x: keras.layers.Add()([x, x]),
    "x + x": lambda x: x + x,
}
seen = {}
for name, part in parts.items():
    inputs = part(embedding(np.array([[1, 2, 0, 0]])))  # the last two are padding
    _, weights = attention(inputs, inputs, return_attention_scores=True)
    seen[name] = round(float(np.asarray(weights)[:, :, :2, 2:].sum(-1).mean()), 2)
print(keras.__version__, seen)
assert seen["LayerNormalization"] == seen["Add"] == 0
assert seen["RMSNormalization"] > 0.1
assert seen["x + x"] > 0.1
PYTHON
