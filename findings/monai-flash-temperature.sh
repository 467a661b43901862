#!/usr/bin/env bash
# monai 1.6.1: `CABlock` learns a temperature for each head. With `flash_attention=True` all heads get their mean, as a plain
# number: heads of different temperatures give other answers than without, and no gradient reaches the temperatures, so
# that training never changes them. The two ways agree while all are 1, as they begin.
# Seen: temperatures 1 and 9: outputs apart by more than 0.1; gradients of the temperatures without and with flash
# attention: two numbers, and None.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet numpy==2.3.4 einops==0.8.1 monai==1.6.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from monai.networks.blocks.cablock import CABlock

torch.manual_seed(0)
image = torch.randn(1, 8, 4, 4)


def run(flash, *temperatures):
    torch.manual_seed(1)
    block = CABlock(spatial_dims=2, dim=8, num_heads=2, bias=False, flash_attention=flash)
    with torch.no_grad():
        block.temperature.copy_(torch.tensor(temperatures).view(2, 1, 1))
    output = block(image)
    output.square().sum().backward()
    return output.detach(), block.temperature.grad


plain, gradient = run(False, 1.0, 9.0)
flash, none = run(True, 1.0, 9.0)
equal = float((run(False, 1.0, 1.0)[0] - run(True, 1.0, 1.0)[0]).abs().max())
apart = float((plain - flash).abs().max())
print("monai", version("monai"), "temperatures 1 and 9, outputs apart:", round(apart, 3), "1 and 1:", round(equal, 6))
print("gradients of the temperatures:", gradient.flatten().tolist(), none)
assert apart > 0.1 and equal < 1e-5
assert gradient.abs().min() > 0 and none is None
PYTHON
