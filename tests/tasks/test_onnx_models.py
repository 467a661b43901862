"""What no model of ONNX can be made of, and how one is compared with its module."""

from math import inf, nan

import pytest
import torch
from torch import nn

import qkv

pytest.importorskip("onnxscript", reason="models of ONNX are made by onnx and onnxscript")

from qkv.tasks import onnx_models
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


@pytest.mark.parametrize(
    ("right", "difference"),
    [
        ([[1.0, -inf]], 0.0),
        ([[1.5, -inf]], 0.5),
        ([[nan, -inf]], inf),
        ([[1.0, 0.0]], inf),
        ([[1.0]], inf),  # of another shape, which would be broadcast
    ],
)
def test_the_difference_of_what_cannot_be_compared_is_infinite(monkeypatch, right, difference):
    found = {"outputs": torch.tensor([[1.0, -inf]])}
    monkeypatch.setattr(onnx_models, "Session", lambda content: lambda **inputs: found)

    class Module(nn.Module):
        def forward(self, x):
            return (torch.tensor(right),)

    graph = Graph("model", Module(), lambda *size: (torch.zeros(size),), {"x": {}}, {"outputs": {}})
    assert graph.difference(b"") == difference
