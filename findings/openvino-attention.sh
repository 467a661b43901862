#!/usr/bin/env bash
# openvino 2026.4.1: ONNX's operator Attention, in two cases. With `past_key` and `is_causal=1`, queries count from the
# end of all keys and not, as ONNX says, from the end of the past: with fewer queries than new keys each sees more.
# Without a past they count from the start. And a query whose boolean mask hides everything gets 0 in a
# float32 model (as ONNX and onnxruntime 1.32.0), the mean of all values in a float64 one.
# Seen: 1.0 from the formula in the first case, 2e-07 from counting at the end; 1.0 for values of ones in the second.
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
from onnx import helper

HEADS, QUERIES, KEYS, PAST, SIZE = 2, 3, 5, 4, 8
generator = np.random.default_rng(0)


def normal(*shape):
    return generator.standard_normal(shape)


def both(feed, names, dtype, **attributes):
    """What onnxruntime and OpenVINO compute."""
    feed = {n: a if a.dtype == bool else a.astype(dtype) for n, a in feed.items()}
    type_of = helper.np_dtype_to_tensor_dtype
    inputs = [helper.make_tensor_value_info(n, type_of(a.dtype), a.shape) for n, a in feed.items()]
    output = helper.make_tensor_value_info("y", type_of(np.dtype(dtype)), [1, HEADS, QUERIES, SIZE])
    # onnxruntime takes a past only where the keys that follow are asked for.
    outputs = ["y", "present_key", "present_value"] if "pK" in feed else ["y"]
    node = helper.make_node("Attention", names, outputs, **attributes)
    graph = helper.make_graph([node], "attention", inputs, [output])
    opset = [helper.make_opsetid("", 23)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=11), "model.onnx")
    session = onnxruntime.InferenceSession("model.onnx")
    # Without the hint OpenVINO may compute in bfloat16.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model("model.onnx", "CPU", hint)
    return session.run(None, feed)[0], compiled(feed)[0]


def causal(feed, offset):
    """Query i sees keys up to i + offset."""
    key, value = feed["K"], feed["V"]
    if "pK" in feed:
        key, value = (np.concatenate([feed["p" + n], feed[n]], axis=2) for n in "KV")
    scores = feed["Q"] @ key.swapaxes(-1, -2) / SIZE**0.5
    places = np.arange(QUERIES)[:, None] + offset
    scores = np.where(np.arange(key.shape[2]) <= places, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ value


print(openvino.__version__, "onnxruntime", onnxruntime.__version__)
feed = {"Q": normal(1, HEADS, QUERIES, SIZE)} | {n: normal(1, HEADS, KEYS, SIZE) for n in "KV"}
by_runtime, by_openvino = both(feed, list(feed), np.float32, is_causal=1)
assert np.allclose(by_runtime, causal(feed, 0), atol=1e-5)
assert np.allclose(by_openvino, causal(feed, 0), atol=1e-5)

feed |= {"p" + n: normal(1, HEADS, PAST, SIZE) for n in "KV"}
by_runtime, by_openvino = both(feed, ["Q", "K", "V", "", "pK", "pV"], np.float32, is_causal=1)
asked, from_end = causal(feed, PAST), causal(feed, PAST + KEYS - QUERIES)
print("with a past: onnxruntime", np.abs(by_runtime - asked).max(), end=" ")
print("OpenVINO", np.abs(by_openvino - asked).max(), "from the end", np.abs(by_openvino - from_end).max())
assert np.allclose(by_runtime, asked, atol=1e-5)
assert np.allclose(by_openvino, from_end, atol=1e-5)
assert not np.allclose(by_openvino, asked, atol=0.1)

feed = {n: feed[n] for n in "QK"} | {"V": np.ones((1, HEADS, KEYS, SIZE))}
mask = np.ones((QUERIES, KEYS), dtype=bool)
mask[1] = False
for dtype, of_openvino in ((np.float32, 0.0), (np.float64, 1.0)):
    by_runtime, by_openvino = both(feed | {"mask": mask}, ["Q", "K", "V", "mask"], dtype)
    print("sees nothing,", dtype.__name__, by_runtime[0, 0, :, 0], by_openvino[0, 0, :, 0])
    assert np.allclose(by_runtime[:, :, 1], 0)
    assert np.allclose(by_openvino[:, :, 1], of_openvino, atol=1e-5)
PYTHON
