#!/usr/bin/env bash
# mlx 0.32.4 (its build for CPUs): `mx.fast.scaled_dot_product_attention(mask="causal")` aligns the mask to
# the end of the keys, torch and ONNX to the start; and a query that may see nothing gets the mean of all values,
# the masked ones too, neither 0 nor NaN. With more queries than keys the first queries therefore see every key.
# Seen: 2 queries on 5 keys, the first has weight 0.25 on 4 keys; 5 queries on 2 keys, the first three
# have 0.5 on both, the fourth 1 on the first; a row of False 0.5 on both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mlx==0.32.4
"$folder/venv/bin/pip" install --quiet mlx-cpu==0.32.4
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import mlx.core as mx


def weights(queries, keys, mask):
    query, key = mx.zeros((1, 1, queries, 8)), mx.zeros((1, 1, keys, 8))
    value = mx.eye(keys, 8)[None, None]
    output = mx.fast.scaled_dot_product_attention(query, key, value, scale=1.0, mask=mask)
    return [[round(number, 2) for number in row[:keys]] for row in output[0, 0].tolist()]


few, many = weights(2, 5, "causal"), weights(5, 2, "causal")
nothing = weights(2, 2, mx.array([[True, False], [False, False]]))
print(version("mlx"), few, many, nothing)
assert few == [[0.25] * 4 + [0.0], [0.2] * 5]
assert many[:3] == [[0.5, 0.5]] * 3
assert many[3] == [1.0, 0.0]
assert nothing == [[1.0, 0.0], [0.5, 0.5]]
PYTHON
