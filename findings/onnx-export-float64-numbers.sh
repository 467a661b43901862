#!/usr/bin/env bash
# torch 2.13.0: torch.onnx.export(dynamo=True) rounds Python's numbers to float32 where they stand beside a tensor of
# float64, so a model of float64 has some eight right digits. A tensor of float64 in place of the number keeps all.
# Seen: 1.0 * 0.1 is 0.10000000149011612 in onnxruntime; times torch.tensor(0.1, dtype=torch.float64) it is 0.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import onnxruntime
import torch

warnings.simplefilter("ignore")


class Scaled(torch.nn.Module):
    def forward(self, x):
        return x * 0.1, x + 0.1, x * torch.tensor(0.1, dtype=torch.float64)


one = torch.ones((), dtype=torch.float64)
made = torch.onnx.export(Scaled().eval(), (one,), dynamo=True, verbose=False)
session = onnxruntime.InferenceSession(made.model_proto.SerializeToString())
found = [float(each) for each in session.run(None, {session.get_inputs()[0].name: one.numpy()})]
right = [each.item() for each in Scaled()(one)]
print(torch.__version__, found, right)
assert right == [0.1, 1.1, 0.1]
assert 1e-9 < abs(found[0] - 0.1) < 1e-8
assert 1e-9 < abs(found[1] - 1.1) < 1e-8
assert found[2] == 0.1
PYTHON
