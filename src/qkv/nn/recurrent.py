"""Torch's recurrent layers behind one interface: the whole state is one tensor, batch first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .._tensors import cast_for_autocast

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


class Recurrent(nn.Module):
    """A stack of recurrent layers over `[B, L, width]`, in one or both directions.

    The state is a tensor `[B, S, hidden]`: S counts layers × directions, twice that for an LSTM,
    which has a cell beside its output. So a state is selected and reordered by indexing alone.
    """

    def __init__(
        self,
        cell: str,
        width: int,
        hidden: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"Recurrent: cell must be one of {', '.join(CELLS)}; got {cell!r}")
        self.parts = 2 if cell == "lstm" else 1
        self.directions = 2 if bidirectional else 1
        self.cell = CELLS[cell](
            width,
            hidden,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )

    def forward(
        self, inputs: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs `[B, L, directions × hidden]` and the state after the last step.

        With `lengths` `[B]` each sequence ends there: neither direction reads what follows, the
        state is that of the last real step, and outputs beyond it are zero.
        """
        # Torch's LSTM on a CPU fails under autocast unless it is given the narrow type itself.
        inputs = cast_for_autocast(inputs)
        initial = None if state is None else self._split(cast_for_autocast(state))
        if lengths is None:
            outputs, final = self.cell(inputs, initial)
            return outputs, self._join(final)
        # The lengths decide how many sequences each step has, so torch wants them on the host.
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, final = self.cell(packed, initial)
        padded, _ = pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])
        return padded, self._join(final)

    def summary(self, state: Tensor) -> Tensor:
        """The last layer's output after the last step, directions side by side: `[B, width]`."""
        outputs = state.chunk(self.parts, dim=1)[0]
        return outputs[:, -self.directions :].flatten(1)

    def _join(self, state: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        parts = torch.cat(state) if isinstance(state, tuple) else state
        return parts.transpose(0, 1)

    def _split(self, state: Tensor) -> Tensor | tuple[Tensor, ...]:
        layers_first = state.transpose(0, 1).contiguous()
        return layers_first if self.parts == 1 else layers_first.chunk(self.parts)
