#!/usr/bin/env bash
# allennlp-light 1.0.0: `masked_softmax`, by which its attention modules weigh, writes 0 in the place of each hidden score,
# takes the softmax of all, and divides by what is left. Where real scores lie far below 0 the hidden ones take it all: the
# weights of what may be seen sum to less than 1 and, further down, are all 0. A softmax does not change when a number
# is added to every score; this one does. `memory_efficient=True`, said to be the less accurate way, has the right weights.
# Seen: scores s and s − 1 beside a hidden one have the weights 0.731 and 0.269 for s=−10, 0 and 0 for s=−110, and the
# right ones for both with memory_efficient=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 ai2-tango==1.3.2 allennlp-light==1.0.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from allennlp_light.modules.attention import DotProductAttention
from allennlp_light.nn.util import masked_softmax

real = torch.tensor([True, True, False])
right = torch.tensor([0.0, -1.0]).softmax(-1)
seen = {}
for lift in (-10.0, -80.0, -110.0):
    scores = torch.tensor([0.0, -1.0, 7.0]) + lift
    seen[lift] = masked_softmax(scores, real)[:2]
    torch.testing.assert_close(masked_softmax(scores, real, memory_efficient=True)[:2], right)
attend = DotProductAttention(normalize=True)
weights = attend(torch.full((1, 4), 10.0), torch.tensor([[[-3.0] * 4, [-3.1] * 4, [0.0] * 4]]), real[None])[0]

print("allennlp-light", version("allennlp-light"))
print("weights by what is added to all scores:", {lift: one.tolist() for lift, one in seen.items()})
print("DotProductAttention, scores −120 and −124:", weights.tolist())
torch.testing.assert_close(seen[-10.0], right)
assert float(seen[-80.0].sum()) < 1e-10
assert float(seen[-110.0].sum()) == float(weights.sum()) == 0
PYTHON
