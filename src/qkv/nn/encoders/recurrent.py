from __future__ import annotations

import torch
from torch import Tensor, nn

from ...ground.autocast import cast_for_autocast
from ..padding import check_lengths, mean_of_real, real_ends, without_padding
from ..recurrent import CELLS, check_cell
from ..sizes import check_dropout, check_sizes
from .base import Encoder


class RecurrentEncoder(Encoder):
    """A stack of recurrent layers that read forwards, or in both directions.

    Args:
        inputs: width of the input rows.
        width: width of the states; with two directions each has half of it.
        cell: "lstm", "gru" or "rnn".
        layers: the number of layers, one above the other.
        bidirectional: whether the layers read backwards too.
        dropout: probability between layers.

    Raises:
        ValueError: a size is no int >= 1, `width` is odd for two directions, there is no such cell,
            or `dropout` is no number in [0, 1].

    Source: Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate" (2015), section 3.2.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        cell: str = "lstm",
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(inputs, width)
        check_sizes("RecurrentEncoder", layers=layers)
        check_dropout("RecurrentEncoder", dropout=dropout)
        if bidirectional and width % 2:
            raise ValueError(f"RecurrentEncoder: width of two directions must be even; got {width}")
        check_cell("RecurrentEncoder", cell)
        self.bidirectional = bidirectional
        hidden = width // 2 if bidirectional else width

        def layer(number: int) -> nn.Module:
            return CELLS[cell](width if number else inputs, hidden, batch_first=True)

        self.forwards = nn.ModuleList(layer(number) for number in range(layers))
        backwards = layers if bidirectional else 0
        self.backwards = nn.ModuleList(layer(number) for number in range(backwards))
        self.dropout = nn.Dropout(dropout)

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        # Each direction meets a sequence before its padding. Torch's packed sequences avoid it too,
        # but on a CPU their gradients take time that grows with the square of the length.
        x, mirror = cast_for_autocast(x), _mirror(x, lengths)
        for number, forwards in enumerate(self.forwards):
            below = x if number == 0 else self.dropout(x)
            x = forwards(below)[0]
            if self.bidirectional:
                behind = self.backwards[number](_taken(below, mirror))[0]
                x = torch.cat([x, _taken(behind, mirror)], dim=-1)
        return x

    def summary(self, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The final state of each direction, `[B, width]`: forwards the last real one, backwards
        the first; zeros where none is real."""
        check_lengths("RecurrentEncoder", lengths, states)
        if states.shape[1] == 0:
            return mean_of_real(states, lengths)
        states = without_padding(states, lengths)
        if lengths is None:
            last = states[:, -1]
        else:
            rows = torch.arange(len(states), device=states.device)
            ends = real_ends(states, lengths).expand(len(states))
            last = states[rows, ends.clamp(min=1) - 1]
        if not self.bidirectional:
            return last
        half = self.width // 2
        return torch.cat([last[:, :half], states[:, 0, half:]], dim=-1)


def _mirror(x: Tensor, lengths: Tensor | None) -> Tensor:
    """`[B, L]`: where the row stands that comes there when each sequence is read from its end."""
    rows = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
    if lengths is None:
        return rows.flip(1)
    ends = real_ends(x, lengths).reshape(-1, 1)
    return torch.where(rows < ends, ends - 1 - rows, rows)


def _taken(x: Tensor, rows: Tensor) -> Tensor:
    """These rows of each sequence."""
    return x.gather(1, rows.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
