#!/usr/bin/env bash
# torch 2.13.0: torch.onnx.export(dynamo=True) takes a dimension that was named dynamic for fixed, without an error or a
# warning, where the module cannot run with other sizes; torch.export.export refuses the same. Which of the
# inputs' dimensions are free must be read from the model that comes out.
# Seen: torch.export.export: UserError; torch.onnx.export: an input [5, 3], of Dim("length") and 3, and no warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import logging
import warnings

import torch
from torch.export import Dim


class Positions(torch.nn.Module):
    """Adds a table of five positions."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.zeros(5, 3))

    def forward(self, x):
        return x + self.table


module, example, free = Positions().eval(), (torch.randn(5, 3),), ({0: Dim("length")},)
try:
    torch.export.export(module, example, dynamic_shapes=free)
    raise SystemExit("torch.export.export took it")
except torch._dynamo.exc.UserError as error:
    refused = str(error).splitlines()[0]

records = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: records.append(record.getMessage())
for name in (None, *logging.root.manager.loggerDict):
    logging.getLogger(name).addHandler(handler)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    made = torch.onnx.export(module, example, dynamic_shapes=free, dynamo=True, verbose=False)
said = {str(one.message) for one in said} | set(records)
dims = made.model_proto.graph.input[0].type.tensor_type.shape.dim
shape = [dim.dim_param or dim.dim_value for dim in dims]
print(torch.__version__, refused, shape, said)
assert "length" in refused
assert shape == [5, 3]
assert not any(word in text for text in said for word in ("length", "dynamic", "constraint"))
PYTHON
