"""Torch's recurrent layers behind one interface: the whole state is one tensor, batch first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ground.autocast import cast_for_autocast

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


def check_cell(where: str, cell: object) -> None:
    """Checks the name of a cell.

    Raises:
        ValueError: there is no such cell.
    """
    if cell not in CELLS:
        raise ValueError(f"{where}: cell must be one of {', '.join(CELLS)}; got {cell!r}")


class Recurrent(nn.Module):
    """A stack of recurrent layers over `[B, L, width]`.

    The state is a tensor `[B, S, hidden]`. S is the number of layers, or twice that for an LSTM,
    which has a cell state beside its output. So indexing alone selects and reorders states.
    """

    def __init__(
        self, cell: str, width: int, hidden: int, *, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_cell("Recurrent", cell)
        self.parts = 2 if cell == "lstm" else 1
        between = dropout if layers > 1 else 0.0
        self.cell = CELLS[cell](width, hidden, layers, batch_first=True, dropout=between)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs `[B, L, hidden]` and the state after the last step."""
        # Torch's LSTM on a CPU fails under autocast unless it is given the narrow type itself.
        initial = None if state is None else self._split(cast_for_autocast(state))
        outputs, final = self.cell(cast_for_autocast(inputs), initial)
        return outputs, self._join(final)

    def summary(self, state: Tensor) -> Tensor:
        """The last layer's output after the last step: `[B, hidden]`."""
        return state.chunk(self.parts, dim=1)[0][:, -1]

    def _join(self, state: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        parts = torch.cat(state) if isinstance(state, tuple) else state
        return parts.transpose(0, 1)

    def _split(self, state: Tensor) -> Tensor | tuple[Tensor, ...]:
        layers_first = state.transpose(0, 1).contiguous()
        return layers_first if self.parts == 1 else layers_first.chunk(self.parts)
