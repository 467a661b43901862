#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator computes Softmax of opset 11 by the rules of opset 13. Up to
# opset 12 everything from `axis` (1 by default) on is one distribution; onnxruntime 1.32.0 obeys that, the reference
# normalises each last dimension by itself, so it is no judge of attention that was exported at an old opset.
# Seen for zeros [2, 3, 4]: reference 0.25, onnxruntime 0.0833.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

shape = [2, 3, 4]
graph = helper.make_graph(
    [helper.make_node("Softmax", ["scores"], ["weights"])],
    "softmax",
    [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("weights", TensorProto.FLOAT, shape)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
feed = {"scores": np.zeros(shape, dtype=np.float32)}
by_reference = ReferenceEvaluator(model).run(None, feed)[0]
session = onnxruntime.InferenceSession(model.SerializeToString())
by_runtime = session.run(None, feed)[0]
print(onnx.__version__, by_reference[0, 0, 0], onnxruntime.__version__, by_runtime[0, 0, 0])
assert np.allclose(by_reference, 1 / 4)
assert np.allclose(by_runtime, 1 / 12)
PYTHON
