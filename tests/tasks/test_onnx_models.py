"""What no model of ONNX can be made of."""

import pytest
import torch
from torch import nn

import qkv

pytest.importorskip("onnxscript", reason="models of ONNX are made by onnx and onnxscript")

from qkv.tasks.onnx_models import Graph


def test_a_size_that_torch_fixes_is_refused():
    """Of layers of the cell "rnn" torch writes as many steps as the example has."""

    def draw(batch, length):
        return (torch.zeros(batch, length, 3),)

    free = {0: "batch", 1: "length"}
    layer = nn.RNN(3, 4, batch_first=True)
    graph = Graph("model", layer, draw, {"inputs": free}, {"outputs": free, "state": {}})
    with pytest.raises(qkv.UnsupportedError, match=r"export: torch makes no model.onnx of any len"):
        graph.made()
