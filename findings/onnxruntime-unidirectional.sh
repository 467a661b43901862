#!/usr/bin/env bash
# onnxruntime 1.32.0: `com.microsoft.MultiHeadAttention` with `unidirectional=1` and fewer queries than keys
# counts neither from the start nor from the end. All queries but the last see what a mask from the start shows
# them; the last sees every key. With as many keys as queries, or with the others as `past_key`, it is right.
# Seen: keys per query for 3 queries and 6 keys: 1, 2, 6 (from the start 1, 2, 3; from the end 4, 5, 6).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def keys_seen(queries, keys):
    shapes = {"query": (1, queries, keys), "key": (1, keys, keys), "value": (1, keys, keys)}
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    node = helper.make_node(
        "MultiHeadAttention", list(shapes), ["output"], "", domain="com.microsoft",
        num_heads=1, unidirectional=1,
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "graph", inputs, [output])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    feeds["value"][0] = np.eye(keys)
    return (session.run(None, feeds)[0][0] > 0).sum(-1).tolist()


square, wide = keys_seen(6, 6), keys_seen(3, 6)
print(onnxruntime.__version__, square, wide)
assert square == [1, 2, 3, 4, 5, 6]
assert wide == [1, 2, 6]
PYTHON
