#!/usr/bin/env bash
# torch 2.13.0: of the second GRU or LSTM that one process exports by torch.onnx.export(dynamo=True), a length that was
# said to be dynamic becomes that of the example, without an error or a warning: how the layer is taken apart is
# remembered from the first export, with the length that it had then. The same export in a fresh process is
# right, so a test that makes one model does not see it. (Of nn.RNN the first has a fixed length too.)
# Seen: inputs [batch, length, 3] of the first, [batch, 9, 3] of the second, of GRU and of LSTM.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import torch
from torch.export import Dim

warnings.simplefilter("ignore")


def input_shape(layer, length):
    made = torch.onnx.export(
        layer.eval(),
        (torch.randn(2, length, 3),),
        dynamic_shapes=({0: Dim("batch"), 1: Dim("length")},),
        dynamo=True,
        verbose=False,
    )
    dims = made.model_proto.graph.input[0].type.tensor_type.shape.dim
    return [dim.dim_param or dim.dim_value for dim in dims]


seen = {
    kind.__name__: [input_shape(kind(3, 4, batch_first=True), length) for length in (7, 9)]
    for kind in (torch.nn.GRU, torch.nn.LSTM)
}
print(torch.__version__, seen)
for first, second in seen.values():
    assert first == ["batch", "length", 3]
    assert second == ["batch", 9, 3]
PYTHON
