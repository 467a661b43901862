#!/usr/bin/env bash
# entmax 1.3 with torch 2.13.0: the second derivative of `entmax15` and `entmax_bisect` is NaN for a
# whole row as soon as one of its weights is exactly 0, which is what these functions are for. The first
# derivative is right, and so are both of `sparsemax`. (Backward takes the square root of the weights, whose
# own derivative at 0 is infinite.)
# Seen: entmax15 [nan, nan, nan], entmax_bisect [nan, nan, nan], sparsemax [1.0, -1.0, 0.0].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet entmax==1.3
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import entmax
import torch

seen = {}
functions = {
    "entmax15": lambda scores: entmax.entmax15(scores, -1),
    "entmax_bisect": lambda scores: entmax.entmax_bisect(scores, 1.5, -1, 100),
    "sparsemax": lambda scores: entmax.sparsemax(scores, -1),
}
for name, function in functions.items():
    scores = torch.tensor([0.3, 0.1, -3.0], dtype=torch.float64, requires_grad=True)
    weights = function(scores)
    assert weights[2] == 0
    (first,) = torch.autograd.grad((weights**2).sum(), scores, create_graph=True)
    assert first.isfinite().all()
    (second,) = torch.autograd.grad(first[0], scores)
    seen[name] = second
print(version("entmax"), torch.__version__, {name: s.tolist() for name, s in seen.items()})
assert seen["entmax15"].isnan().all()
assert seen["entmax_bisect"].isnan().all()
assert seen["sparsemax"].isfinite().all()
PYTHON
