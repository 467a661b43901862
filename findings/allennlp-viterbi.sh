#!/usr/bin/env bash
# allennlp-light 1.0.0: `viterbi_decode` with `allowed_start_transitions` or `allowed_end_transitions`. The end of the text
# is told by a score of 100000, which takes the place of the sum so far: every path has the score 100000, and with `top_k` only
# the first path is one of the best. The others end anywhere, by a tag that is not there too. Transitions of 0, which
# allow everything alike, must change nothing; without them paths and scores are right.
# Seen: three best paths of 3 tags with and without such transitions: the first agrees, the others do not, one path has
# the tag 4; the score is 100000 and not 3.75.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 ai2-tango==1.3.2 allennlp-light==1.0.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version
from itertools import product

import torch
from allennlp_light.nn.util import viterbi_decode

TAGS, LENGTH = 3, 4
torch.manual_seed(0)
scores, transitions = torch.randn(LENGTH, TAGS), torch.randn(TAGS, TAGS)


def total(path):
    steps = sum(transitions[a, b] for a, b in zip(path, path[1:]))
    return float(sum(scores[i, tag] for i, tag in enumerate(path)) + steps)


def decode(**options):
    paths, found = viterbi_decode(scores, transitions, top_k=3, **options)
    return [[int(tag) for tag in path] for path in paths], [round(one, 3) for one in found.tolist()]


best = sorted(product(range(TAGS), repeat=LENGTH), key=total, reverse=True)[:3]
plain, plain_scores = decode()
free, free_scores = decode(allowed_start_transitions=torch.zeros(TAGS))
print("allennlp-light", version("allennlp-light"))
print("best of all:", best, "without:", plain, plain_scores)
print("with transitions of 0:", free, free_scores)
assert [tuple(path) for path in plain] == best
assert free[0] == plain[0] and free[1] != plain[1]
assert max(map(max, free)) == TAGS + 1
assert free_scores[0] == 100000
PYTHON
