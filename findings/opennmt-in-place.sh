#!/usr/bin/env bash
# OpenNMT-py 3.5.1: two layers that change what they are given. `GlobalAttention(coverage=True)` adds its coverage to the
# encoder's outputs themselves, so that each further step of a decoder sees that of all former steps; `Sparsemax` moves its
# input, so that scores that are looked at afterwards are others. Neither is said, and the same call twice is not the same.
# Seen: one step of attention, taken twice, differs by 0.13; scores have moved by 6.4 after `Sparsemax`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4
"$folder/venv/bin/pip" install --quiet --no-deps OpenNMT-py==3.5.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution, version
from importlib.util import module_from_spec

import torch

for name in ("onmt", "onmt.modules", "onmt.utils"):  # without their __init__, which loads all else
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations.append(str(distribution("OpenNMT-py").locate_file(name.replace(".", "/"))))
    sys.modules[name] = module_from_spec(spec)
from onmt.modules.global_attention import GlobalAttention
from onmt.modules.sparse_activations import Sparsemax

torch.manual_seed(0)
attention = GlobalAttention(8, coverage=True).eval()
query, encoded, coverage = torch.randn(1, 1, 8), torch.randn(1, 5, 8), torch.rand(1, 5)
before = encoded.clone()
with torch.no_grad():
    first, second = (attention(query, encoded, coverage=coverage)[0] for _ in range(2))
apart, moved = float((first - second).abs().max()), float((encoded - before).abs().max())

scores = torch.randn(2, 3) + 5
kept = scores.clone()
Sparsemax(1)(scores)
shifted = float((scores - kept).abs().max())

print("OpenNMT-py", version("OpenNMT-py"), "one step twice, apart:", round(apart, 3))
print("encoder outputs moved by", round(moved, 3), "scores by", round(shifted, 3))
assert apart > 0.01 and moved > 0.1
assert shifted > 1
PYTHON
