"""OpenVINO's scaled dot-product attention. Forward, float32."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from qkv.bench.work import Contender, Inputs

NAME = "OpenVINO"


def openvino(inputs: Inputs, causal: bool = False) -> Contender:
    """Compiled for the CPU at torch's number of threads; reads the tensors where they are."""

    def prepare() -> Callable[[], Any]:
        runtime, operators = import_module("openvino"), import_module("openvino.opset13")
        leaves = (inputs.query, inputs.key, inputs.value)
        nodes = [operators.parameter(list(tensor.shape), runtime.Type.f32) for tensor in leaves]
        attention = operators.scaled_dot_product_attention(*nodes, causal=causal)
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        model = runtime.Model([attention], nodes)
        request = runtime.Core().compile_model(model, "CPU", settings).create_infer_request()
        for index, tensor in enumerate(leaves):
            shared = runtime.Tensor(tensor.numpy(), shared_memory=True)
            request.set_input_tensor(index, shared)

        def call() -> Any:
            request.infer()
            return request

        return call

    return Contender(NAME, prepare, read=_output, packages=("openvino",))


def _output(request: Any) -> tuple[Tensor]:
    # A copy: the next call writes its output to the same place.
    return (torch.from_numpy(request.get_output_tensor(0).data.copy()),)
