#!/usr/bin/env bash
# keras 3.15.1: `ops.sparsemax` (and so `activations.sparsemax`) is right where one entry has all the weight. Where
# several share it their weights do not sum to 1, and the entries that are left may be others: the threshold is
# computed of the sum of all partial sums, where the last alone belongs.
# Seen: [3, 0, 0] -> [1, 0, 0]; [0, 0.5, 1] -> [0, 0, 0.25] (should be [0, 0.25, 0.75]); four ones -> four
# zeros (should be a quarter each); four zeros -> a quarter each.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np


def projected(scores):
    """The nearest point of the simplex (Martins and Astudillo 2016, algorithm 1)."""
    ordered = np.sort(scores)[::-1]
    sums = np.cumsum(ordered)
    counts = np.arange(1, len(scores) + 1)
    support = counts[1 + counts * ordered > sums].max()
    return np.maximum(scores - (sums[support - 1] - 1) / support, 0)


for scores, agrees in (([3, 0, 0], True), ([0, 0.5, 1], False), ([1, 1, 1, 1], False), ([0, 0, 0, 0], True)):
    scores = np.array(scores, np.float32)
    theirs, right = np.asarray(keras.ops.sparsemax(scores)), projected(scores)
    print(keras.__version__, scores, "->", theirs, "sum", theirs.sum(), "should be", right)
    assert np.allclose(right.sum(), 1)
    assert np.allclose(theirs, right) == agrees
PYTHON
