#!/usr/bin/env bash
# torch 2.13.0: torch.onnx.ops.attention with a softcap and a mask, run by torch itself, masks first and caps then, so a
# hidden key has the score -softcap and keeps a weight. The operator's standard, as onnx 1.23.2 has it, caps first
# and adds the mask then. So the module and the model that torch.onnx.export makes of it give other values.
# Seen: of a hidden key's value 1, torch gives 0.019 to the query that may not see it; the model, in onnx's
# reference evaluator and in onnxruntime 1.32.0, gives 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import onnx
import onnxruntime
import torch
from onnx.reference import ReferenceEvaluator

warnings.simplefilter("ignore")


class Capped(torch.nn.Module):
    def forward(self, query, key, value, mask):
        return torch.onnx.ops.attention(query, key, value, mask, softcap=2.0)[0]


tensors = (
    torch.full((1, 1, 1, 4), 2.0),
    torch.ones(1, 1, 2, 4),
    torch.tensor([0.0, 1.0]).view(1, 1, 2, 1).expand(1, 1, 2, 4),
    torch.tensor([[True, False]]),  # True: may be seen
)
by_torch = Capped()(*tensors).max().item()
made = torch.onnx.export(
    Capped().eval(), tensors, dynamo=True, opset_version=23, verbose=False
).model_proto
assert [node.op_type for node in made.graph.node] == ["Attention"]
names = [put.name for put in made.graph.input]
feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
[by_reference] = ReferenceEvaluator(made).run(None, feed)
[by_runtime] = onnxruntime.InferenceSession(made.SerializeToString()).run(None, feed)
print(torch.__version__, by_torch, onnx.__version__, by_reference.max())
print(onnxruntime.__version__, by_runtime.max())
assert by_torch > 0.01
assert by_reference.max() == 0
assert by_runtime.max() == 0
PYTHON
