"""Models of ONNX made of modules, and what two programs compute by them."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn

onnx = pytest.importorskip("onnx", reason="models of ONNX are made by onnx and onnxscript")
pytest.importorskip("onnxscript", reason="models of ONNX are made by onnx and onnxscript")
onnxruntime = pytest.importorskip("onnxruntime", reason="models of ONNX are run by onnxruntime")

from onnx.reference import ReferenceEvaluator  # noqa: E402


class Asking(nn.Module):
    """A user's module: what a function says of its tensors."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor):
        return self.function(*tensors)


def exported(function, tensors, shapes=None, opset: int = 23):
    """The model that torch makes of a function of tensors."""
    module = function if isinstance(function, nn.Module) else Asking(function)
    if shapes is not None and not isinstance(function, nn.Module):
        shapes = (tuple(shapes),)  # of `*tensors`
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of itself
        made = torch.onnx.export(
            module.eval(),
            tuple(tensors),
            dynamic_shapes=shapes,
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    return made.model_proto


def operators(model) -> Counter:
    """How many of each operator it has."""
    return Counter(node.op_type for node in model.graph.node)


def by_onnxruntime(model, tensors) -> list[Tensor]:
    """What onnxruntime computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return [torch.from_numpy(output) for output in session.run(None, _feed(model, tensors))]


def by_reference(model, tensors) -> list[Tensor]:
    """What the evaluator of onnx computes, which follows the definitions of the operators."""
    with np.errstate(all="ignore"):
        outputs = ReferenceEvaluator(model).run(None, _feed(model, tensors))
    return [torch.from_numpy(output) for output in outputs]


def _feed(model, tensors):
    """Tensors that the model does not need are none of its inputs' names, but are given."""
    names = [put.name for put in model.graph.input]
    return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
