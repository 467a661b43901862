"""ONNX Runtime's multi-head attention. Forward, float32."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from qkv.bench.work import Contender, Inputs

NAME = "ONNX Runtime"
_PACKAGES = ("onnxruntime", "onnx")


def onnx_runtime(inputs: Inputs, causal: bool = False) -> Contender:
    """At torch's number of threads. Its layout is `[B, L, H * D]`; inputs are brought into it
    before the clock starts."""
    batch, heads, length, width = inputs.query.shape

    def ours(output: list[Any]) -> tuple[Tensor]:
        heads_apart = torch.from_numpy(output[0]).view(batch, length, heads, width)
        return (heads_apart.transpose(1, 2),)

    def prepare() -> Callable[[], Any]:
        session = _session(list(inputs.query.shape), causal)
        leaves = zip(_INPUTS, (inputs.query, inputs.key, inputs.value), strict=True)
        feed = {name: t.transpose(1, 2).flatten(2).contiguous().numpy() for name, t in leaves}
        return lambda: session.run(None, feed)

    return Contender(NAME, prepare, read=ours, packages=_PACKAGES)


_INPUTS = ("query", "key", "value")


def _session(shape: list[int], causal: bool) -> Any:
    """A model of the one operator, ready to run."""
    runtime, onnx = import_module("onnxruntime"), import_module("onnx")
    batch, heads, length, width = shape
    kind, sizes = onnx.TensorProto.FLOAT, [batch, length, heads * width]
    described = {
        name: onnx.helper.make_tensor_value_info(name, kind, sizes) for name in (*_INPUTS, "output")
    }
    node = onnx.helper.make_node(
        "MultiHeadAttention", list(_INPUTS), ["output"], domain="com.microsoft",
        num_heads=heads, unidirectional=int(causal),
    )  # fmt: skip
    output = described.pop("output")
    graph = onnx.helper.make_graph([node], "attention", list(described.values()), [output])
    sets = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=sets, ir_version=9)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Its threads would go on spinning after a call and take the processor from the next contender.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
