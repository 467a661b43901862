#!/usr/bin/env bash
# openvino 2026.4.1: of an LSTM in an ONNX model, three things that the operator has are read and left out without a
# word: peephole weights (input P), `input_forget=1`, and the activations of the second direction, which get
# those of the first. onnxruntime 1.32.0 computes all three as the formula says.
# Seen: greatest difference from the formula, OpenVINO 0.3 to 0.8, onnxruntime 2e-07; without these both 2e-07.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper

LENGTH, BATCH, INPUT, HIDDEN = 5, 3, 4, 6
generator = np.random.default_rng(0)


def normal(*shape):
    return generator.standard_normal(shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def formula(feed, of_cells, input_forget):
    """All states of an LSTM: [length, directions, batch, hidden]."""
    states = []
    for d, of_cell in enumerate(of_cells):
        h = c = np.zeros((BATCH, HIDDEN), dtype=np.float32)
        p_i, p_o, p_f = np.split(feed["P"][d], 3) if "P" in feed else (0, 0, 0)
        steps = feed["X"] if d == 0 else feed["X"][::-1]
        seen = []
        for x in steps:
            i, o, f, g = np.split(x @ feed["W"][d].T + h @ feed["R"][d].T, 4, axis=-1)
            i = sigmoid(i + p_i * c)
            f = 1 - i if input_forget else sigmoid(f + p_f * c)
            c = f * c + i * of_cell(g)
            h = sigmoid(o + p_o * c) * np.tanh(c)
            seen.append(h)
        states.append(np.stack(seen if d == 0 else seen[::-1]))
    return np.stack(states, axis=1)


def gaps(name, feed, of_cells=(np.tanh,), **attributes):
    """The greatest differences from the formula, of onnxruntime and OpenVINO."""
    names = ["X", "W", "R"] + (["", "", "", "", "P"] if "P" in feed else [])
    direction = "forward" if len(of_cells) == 1 else "bidirectional"
    node = helper.make_node(
        "LSTM", names, ["states"], hidden_size=HIDDEN, direction=direction, **attributes
    )
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in feed.items()]
    shape = [LENGTH, len(of_cells), BATCH, HIDDEN]
    states = helper.make_tensor_value_info("states", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "lstm", inputs, [states])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, "lstm.onnx")
    expected = formula(feed, of_cells, "input_forget" in attributes)
    session = onnxruntime.InferenceSession("lstm.onnx")
    # Without the hint OpenVINO may compute in bfloat16.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model("lstm.onnx", "CPU", hint)
    results = session.run(None, feed)[0], compiled(feed)[0]
    found = [float(np.abs(one - expected).max()) for one in results]
    print(name, "onnxruntime", found[0], "OpenVINO", found[1])
    return found


print(openvino.__version__, "onnxruntime", onnxruntime.__version__)


def feed(directions=1):
    return {
        "X": normal(LENGTH, BATCH, INPUT),
        "W": normal(directions, 4 * HIDDEN, INPUT),
        "R": normal(directions, 4 * HIDDEN, HIDDEN),
    }


plain = gaps("plain", feed())
both_ways = gaps("both directions", feed(2), (np.tanh, np.tanh))
peepholes = gaps("peepholes", feed() | {"P": normal(1, 3 * HIDDEN)})
coupled = gaps("input_forget", feed(), input_forget=1)
activations = ["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Relu", "Tanh"]
second = gaps("second activations", feed(2), (np.tanh, relu), activations=activations)
assert max(plain + both_ways) < 1e-5
for by_runtime, by_openvino in (peepholes, coupled, second):
    assert by_runtime < 1e-5
    assert by_openvino > 0.01
PYTHON
