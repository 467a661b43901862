#!/usr/bin/env bash
# neuralforecast 3.3.0: `FullAttention(mask_flag=True)` is said to mask what comes later, by a mask of its own where none is
# given. It does so with `output_attention=True` alone. By default, and so in the decoder of `VanillaTransformer`, which gives
# no mask, each step sees all later ones: asking for the weights changes what is computed.
# Seen: of four steps, the steps that each sees: 0; 0 1; 0 1 2; 0 1 2 3 with output_attention=True, all four without.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4
"$folder/venv/bin/pip" install --quiet --no-deps neuralforecast==3.3.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import distribution, version
from importlib.util import module_from_spec

import torch

for name in ("neuralforecast", "neuralforecast.common"):  # without their __init__, which loads all else
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations.append(str(distribution("neuralforecast").locate_file(name.replace(".", "/"))))
    sys.modules[name] = module_from_spec(spec)
from neuralforecast.common._modules import FullAttention

STEPS = 4
torch.manual_seed(0)
query, key, value = (torch.randn(1, STEPS, 2, 4) for _ in range(3))


def seen(**options):
    """The steps that each step sees: those whose values change what it gives."""
    attention = FullAttention(mask_flag=True, **options).eval()

    def change(step):
        other = value.clone()
        other[:, step] += 1
        found = [attention(query, key, one, None)[0] for one in (value, other)]
        return (found[0] - found[1]).abs().amax((0, 2, 3)) > 1e-6

    table = torch.stack([change(step) for step in range(STEPS)], 1)
    return [row.nonzero().flatten().tolist() for row in table]


default, weights = seen(), seen(output_attention=True)
print("neuralforecast", version("neuralforecast"), "mask_flag=True, steps seen by default:", default)
print("output_attention=True:", weights)
assert weights == [list(range(step + 1)) for step in range(STEPS)]
assert default == [list(range(STEPS))] * STEPS
PYTHON
