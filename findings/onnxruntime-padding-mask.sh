#!/usr/bin/env bash
# onnxruntime 1.32.0: `com.microsoft.MultiHeadAttention` hides keys of its padding mask by adding
# `mask_filter_value`, -10000 by default. Where visible scores lie further below a hidden one than that, the hidden
# key gets all the weight; where all keys are hidden the result is the mean of the values.
# Seen: visible scores -20000, hidden score 20000: weights [0, 0, 1]; all hidden: [0.33, 0.33, 0.33].
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

node = helper.make_node(
    "MultiHeadAttention",
    ["query", "key", "value", "", "mask"],
    ["output"],
    domain="com.microsoft",
    num_heads=1,
)
inputs = [
    helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4])
    for name in ("query", "key", "value")
]
inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT32, [1, 3]))
graph = helper.make_graph(
    [node], "attention", inputs, [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)]
)
opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=["CPUExecutionProvider"]
)


def weights(query, key, shown):
    value = np.eye(3, 4, dtype=np.float32)[None]
    mask = np.array([shown], dtype=np.int32)
    feed = {"query": query, "key": key, "value": value, "mask": mask}
    return session.run(None, feed)[0][0, 0, :3].tolist()


query = np.full((1, 3, 4), 100, dtype=np.float32)
key = np.full((1, 3, 4), -100, dtype=np.float32)
key[0, 2] = 100  # scores -20000, -20000, 20000
hidden_wins = weights(query, key, [1, 1, 0])
none_shown = weights(0 * query, key, [0, 0, 0])
print(onnxruntime.__version__, hidden_wins, none_shown)
assert hidden_wins == [0, 0, 1]
assert np.allclose(none_shown, 1 / 3)
PYTHON
