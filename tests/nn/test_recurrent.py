"""Recurrent layers: one state tensor."""

import pytest
import torch
from torch import nn

from qkv.nn.recurrent import CELLS, Recurrent

EVERY_CELL = pytest.mark.parametrize("cell", CELLS)


@EVERY_CELL
def test_summary_is_what_is_put_out_at_the_end(cell):
    layer = Recurrent(cell, 3, 4, layers=2)
    outputs, state = layer(torch.randn(2, 5, 3))
    torch.testing.assert_close(layer.summary(state), outputs[:, -1])


@EVERY_CELL
def test_state_carries_a_sequence_on_and_selects_by_row(cell):
    layer = Recurrent(cell, 3, 4)
    inputs = torch.randn(3, 7, 3)
    whole, final = layer(inputs)
    first, state = layer(inputs[:, :4])
    rows = torch.tensor([2, 0])
    rest, rest_state = layer(inputs[rows, 4:], state[rows])
    torch.testing.assert_close(torch.cat([first[rows], rest], dim=1), whole[rows])
    torch.testing.assert_close(rest_state, final[rows])


def test_state_parts_are_those_of_torch():
    layer = Recurrent("lstm", 3, 4)
    assert isinstance(layer.cell, nn.LSTM)
    inputs = torch.randn(2, 5, 3)
    _, (hidden, memory) = layer.cell(inputs)
    _, state = layer(inputs)
    torch.testing.assert_close(state, torch.stack([hidden[0], memory[0]], dim=1))
