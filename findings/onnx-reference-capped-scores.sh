#!/usr/bin/env bash
# onnx 1.23.2: with a softcap, the reference evaluator's `Attention` hands out the capped scores at
# `qk_matmul_output_mode` 0, the default, which the operator's text calls "the output of qk matmul" (the capped ones are
# mode 1). The operator's own expansion into others, run by the same evaluator, and onnxruntime 1.32.0 give the raw ones.
# Seen for a score of 6 capped at 2: reference 1.990, its expansion 6.000, onnxruntime 6.000, in opsets 23 and 24.
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
from onnx import TensorProto, helper, inliner
from onnx.reference import ReferenceEvaluator

feed = {
    "query": np.full((1, 1, 1, 4), 3, dtype=np.float32),
    "key": np.ones((1, 1, 2, 4), dtype=np.float32),
}


def scores(opset, mode):
    node = helper.make_node(
        "Attention",
        ["query", "key", "key"],
        ["output", "", "", "scores"],
        softcap=2.0,
        qk_matmul_output_mode=mode,
    )
    shapes = {name: tensor.shape for name, tensor in feed.items()}
    shapes |= {"output": (1, 1, 1, 4), "scores": (1, 1, 1, 2)}
    query, key, output, out_scores = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    graph = helper.make_graph([node], "attention", [query, key], [output, out_scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    expanded = inliner.inline_selected_functions(
        model, [("", "Attention")], inline_schema_functions=True
    )
    assert len(expanded.graph.node) > 10
    session = onnxruntime.InferenceSession(model.SerializeToString())
    runs = (ReferenceEvaluator(model), ReferenceEvaluator(expanded), session)
    return np.array([run.run(["scores"], feed)[0].max() for run in runs])


for opset in (23, 24):
    raw, capped = scores(opset, 0), scores(opset, 1)
    print(onnx.__version__, onnxruntime.__version__, opset, raw, capped)
    cap = 2 * np.tanh(3)
    assert np.allclose(raw, [cap, 6, 6])
    assert np.allclose(capped, cap)
PYTHON
