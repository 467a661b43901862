#!/usr/bin/env bash
# espnet 202511: the coverage attentions `AttCov` and `AttCovLoc` take a list of the weights of former steps and hand back
# the same list, to which they have added the new weights. Whoever takes two steps from one state, as beam search does for
# two hypotheses with one past, gets another answer at the second: it sees weights of the first as its own past.
# Seen: one step, taken twice from one state, differs by 0.009 (AttCov) and 0.018 (AttCovLoc); from copies by 0.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4
"$folder/venv/bin/pip" install --quiet --no-deps espnet==202511
"$folder/venv/bin/python" -W ignore - 2>"$folder/warnings" <<'PYTHON'
from importlib.metadata import version

import torch
from espnet.nets.pytorch_backend.rnn.attentions import AttCov, AttCovLoc

FRAMES = 7


def apart(attention, hand):
    """By how much a step differs when it is taken a second time from what `hand` gives of one state."""
    torch.manual_seed(1)
    encoded, start, query = torch.randn(1, FRAMES, 8), torch.randn(1, 6), 3 * torch.randn(1, 6)
    attention.reset()
    with torch.no_grad():
        _, state = attention(encoded, [FRAMES], start, None)
        first, _ = attention(encoded, [FRAMES], query, hand(state))
        second, _ = attention(encoded, [FRAMES], query, hand(state))
    return float((first - second).abs().max())


print("espnet", version("espnet"))
torch.manual_seed(0)
for attention in (AttCov(8, 6, 5), AttCovLoc(8, 6, 5, 3, 2)):
    shared, copied = apart(attention, lambda state: state), apart(attention, list)
    print(type(attention).__name__, "one step twice, apart:", round(shared, 4), "from copies:", copied)
    assert shared > 0.001
    assert copied == 0
PYTHON
