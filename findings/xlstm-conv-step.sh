#!/usr/bin/env bash
# xlstm 2.0.6: `CausalConv1d.step`, which takes one place of a text at a time. With `channel_mixing=True` it reads the weights
# of the first input channel alone and takes them for those of each channel's own: other values than `forward`. And it
# writes its new state into the old one, so that a state that is kept, as for two continuations of one text, has moved on.
# Seen: step by step and at once, apart by 0.0 without mixing, by more than 0.1 with it; one step, taken twice from one state,
# differs by more than 0.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4
"$folder/venv/bin/pip" install --quiet --no-deps xlstm==2.0.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution, version
from importlib.util import module_from_spec

import torch

for name in ("xlstm", "xlstm.components"):  # without their __init__, which loads all else
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations.append(str(distribution("xlstm").locate_file(name.replace(".", "/"))))
    sys.modules[name] = module_from_spec(spec)
from xlstm.components.conv import CausalConv1d, CausalConv1dConfig

WIDTH, LENGTH = 4, 6
torch.manual_seed(0)
x = torch.randn(1, LENGTH, WIDTH)


@torch.no_grad()
def apart(layer):
    """By how much the outputs step by step differ from those at once."""
    state, outputs = None, []
    for place in x.split(1, 1):
        output, state = layer.step(place, state)
        outputs.append(output)
    return float((torch.cat(outputs, 1) - layer(x)).abs().max())


plain, mixing = (
    CausalConv1d(CausalConv1dConfig(feature_dim=WIDTH, kernel_size=3, channel_mixing=mix)) for mix in (False, True)
)
off = {mix: round(apart(layer), 3) for mix, layer in ((False, plain), (True, mixing))}
with torch.no_grad():
    _, state = plain.step(x[:, :1])
    first, second = (plain.step(x[:, 1:2], state)[0] for _ in range(2))
twice = float((first - second).abs().max())
print("xlstm", version("xlstm"), "step by step and at once apart, by channel_mixing:", off)
print("one step twice from one state, apart:", round(twice, 3))
assert off[False] == 0 and off[True] > 0.1
assert twice > 0.1
PYTHON
