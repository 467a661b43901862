#!/usr/bin/env bash
# sparsemax 0.1.9: `Sparsemax(dim=0)` of a matrix normalizes its rows, as `dim=1` does. `dim` is looked at only where
# the input has more than two dimensions: the same matrix with one more dimension is normalized along the asked one.
# Seen: for a 3 × 4 matrix and dim=0 all rows sum to 1, and columns to 0.2 to 1.52; with one more dimension, the columns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 sparsemax==0.1.9
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from sparsemax import Sparsemax

torch.manual_seed(0)
scores = torch.randn(3, 4)
matrix = Sparsemax(dim=0)(scores)
cube = Sparsemax(dim=0)(scores.unsqueeze(1)).squeeze(1)  # 3 × 1 × 4: the same columns

columns, rows = (matrix.sum(dim).tolist() for dim in (0, 1))
print(version("sparsemax"), "dim=0 of a matrix: columns sum to", [round(one, 2) for one in columns])
print("rows sum to", [round(one, 2) for one in rows])
print("with one more dimension columns sum to", [round(one, 2) for one in cube.sum(0).tolist()])
assert torch.equal(matrix, Sparsemax(dim=1)(scores))
assert min(columns) < 0.5 and max(columns) > 1.4
torch.testing.assert_close(cube.sum(0), torch.ones(4))
PYTHON
