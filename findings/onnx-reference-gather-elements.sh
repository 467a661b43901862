#!/usr/bin/env bash
# onnx 1.23.2: the reference evaluator refuses GatherElements along an axis that is counted from the end, as the
# standard allows, unless indices and data have one shape: it compares the sizes along that axis too.
# Seen: axis=-1, data [3, 4], indices [3, 1]: "Except for dimension -1, all dimensions of index and self should be
# the same size."; axis=1 works, and onnxruntime 1.32.0 gives the same for both.
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

feed = {
    "data": np.arange(12, dtype=np.float32).reshape(3, 4),
    "indices": np.array([[2], [0], [1]]),
}


def model(axis):
    graph = helper.make_graph(
        [helper.make_node("GatherElements", ["data", "indices"], ["output"], axis=axis)],
        "gather",
        [
            helper.make_tensor_value_info("data", TensorProto.FLOAT, [3, 4]),
            helper.make_tensor_value_info("indices", TensorProto.INT64, [3, 1]),
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [3, 1])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


for axis in (1, -1):
    session = onnxruntime.InferenceSession(model(axis).SerializeToString())
    assert session.run(None, feed)[0].ravel().tolist() == [2, 4, 9]
assert ReferenceEvaluator(model(1)).run(None, feed)[0].ravel().tolist() == [2, 4, 9]
try:
    ReferenceEvaluator(model(-1)).run(None, feed)
    raise SystemExit("the evaluator took it")
except ValueError as error:
    print(onnx.__version__, onnxruntime.__version__, error)
PYTHON
