from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...matrix.matrix import AttentionMatrix
from ...stage.base import type_given
from ..cache import PreparedContext
from ..linear import Linear
from ..padding import mean_of_real
from ..recurrent import Recurrent, check_cell
from ..sizes import check_dropout, check_sizes
from .alignment import ADDITIVE, Alignment
from .base import Decoder

FEEDING = ("output", "context", "upper", "none")


@dataclass(frozen=True)
class RecurrentState:
    """The prepared encoder states, the state of the recurrent layers `[B, S, width]` (see
    `Recurrent`), and the last output `[B, width]`."""

    context: PreparedContext
    memory: Tensor
    output: Tensor

    def reorder(self, index: Tensor) -> RecurrentState:
        """The state of the entries `index` `[B']` of the batch."""
        return RecurrentState(self.context.reorder(index), self.memory[index], self.output[index])

    def spread(self, copies: int) -> RecurrentState:
        """The state of `copies` copies of each entry, side by side."""
        memory, output = (t.repeat_interleave(copies, 0) for t in (self.memory, self.output))
        return RecurrentState(self.context.spread(copies), memory, output)

    @property
    def batch(self) -> int:
        """The number of sequences."""
        return self.context.rows

    @property
    def copies(self) -> int:
        """The number of sequences that share an entry of the encoder's states."""
        return self.context.copies


class RecurrentDecoder(Decoder):
    """Recurrent layers that attend to the encoder's states at every step.

    A recurrent state is the query, and the context is the weighted sum of the encoder's states. The
    output is `tanh(W [state; context])`. `feeding` says which state is the query and where the
    context goes besides:

    * "output": the state after the step is the query. The output enters the next step beside its
      input (Luong's input feeding).
    * "context": the state before the step is the query. The context enters this step beside its
      input (Bahdanau's decoder).
    * "upper": the layers that give the query read inputs alone. One more layer above reads their
      states and the contexts (Wu et al.).
    * "none": as "upper" without that layer: the context goes nowhere else.

    With the last two all queries of a target are known at once, and attention is one call instead
    of one for each step, so training is several times as fast.

    Args:
        inputs: width of the input at each step.
        width: width of the recurrent states and of the outputs.
        context_width: width of the encoder's states.
        cell: "gru", "lstm" or "rnn".
        layers: the number of layers, one above the other; the uppermost gives the query.
        score: "additive", "concat", "general", "dot" or a score: see `Alignment`.
        feeding: see above.
        attention_width: width of the hidden layer of the scores "additive" and "concat", which
            alone have one; default: `width`.
        dropout: probability for state and context before the output, and between layers.

    Raises:
        ValueError: a size is no int >= 1, a name is unknown, the score does not fit, `dropout` is
            no number in [0, 1], or `attention_width` is given to a score without a hidden layer.

    Source: Bahdanau et al., "Neural Machine Translation by Jointly Learning to Align and Translate"
    (2015), section 3.1; Luong et al., "Effective Approaches to Attention-based Neural Machine
    Translation" (2015), sections 3.1 and 3.3; Wu et al., "Google's Neural Machine Translation
    System" (2016), section 3. The first state comes from the mean of the encoder's states as in
    Sennrich et al., "Nematus" (2017), section 2.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        context_width: int,
        *,
        cell: str = "gru",
        layers: int = 1,
        score: Any = "additive",
        feeding: str = "output",
        attention_width: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(inputs, width, context_width)
        hidden = width if attention_width is None else attention_width
        check_sizes("RecurrentDecoder", layers=layers, attention_width=hidden)
        check_dropout("RecurrentDecoder", dropout=dropout)
        check_cell("RecurrentDecoder", cell)
        if attention_width is not None and score not in ADDITIVE:
            named = repr(score) if isinstance(score, str) else type_given(score)
            raise ValueError(
                "RecurrentDecoder: attention_width must be left out for a score without a hidden "
                f"layer; got {attention_width} with {named}"
            )
        if feeding not in FEEDING:
            known = ", ".join(FEEDING)
            raise ValueError(f"RecurrentDecoder: feeding must be one of {known}; got {feeding!r}")
        self.feeding = feeding
        self.alignment = Alignment(score, width, context_width, hidden)
        fed = {"output": width, "context": context_width}.get(feeding, 0)
        self.lower = Recurrent(cell, inputs + fed, width, layers=layers, dropout=dropout)
        self.upper = Recurrent(cell, width + context_width, width) if feeding == "upper" else None
        self.bridge = Linear(context_width, layers * self.lower.parts * width)
        self.readout = Linear(width + context_width, width)
        self.dropout = nn.Dropout(dropout)

    def begin(self, states: Tensor, lengths: Tensor | None) -> RecurrentState:
        first = torch.tanh(self.bridge(mean_of_real(states, lengths)))
        memory = first.unflatten(1, (-1, self.width))
        if self.upper is not None:
            zeros = memory.new_zeros(memory.shape[0], self.upper.parts, self.width)
            memory = torch.cat([memory, zeros], dim=1)
        context = self.alignment.prepare(states, lengths)
        return RecurrentState(context, memory, memory.new_zeros(memory.shape[0], self.width))

    def steps(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        outputs, _, state = self._read(x, state)
        return outputs, state

    def looks(self, x: Tensor, state: RecurrentState) -> list[AttentionMatrix]:
        _, questions, _ = self._read(x, state)
        return [self.alignment.matrix(questions, state.context)]

    def _read(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, Tensor, RecurrentState]:
        """Outputs, the states that asked, both `[B, Lq, width]`, and the state after all."""
        if self.feeding in ("upper", "none"):
            return self._at_once(x, state)
        step = self._feed_output if self.feeding == "output" else self._feed_context
        outputs, questions = [], []
        for row in x.split(1, dim=1):
            output, question, state = step(row, state)
            outputs.append(output)
            questions.append(question)
        return torch.cat(outputs, dim=1), torch.cat(questions, dim=1), state

    def _at_once(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, Tensor, RecurrentState]:
        above = 0 if self.upper is None else self.upper.parts
        below, upper = state.memory.tensor_split([state.memory.shape[1] - above], dim=1)
        asking, below = self.lower(x, below)
        context = self.alignment(asking, state.context)
        top = asking
        if self.upper is not None:
            top, upper = self.upper(torch.cat([asking, context], dim=-1), upper)
        output = self._out(top, context)
        memory = torch.cat([below, upper], dim=1)
        return output, asking, RecurrentState(state.context, memory, output[:, -1])

    def _feed_output(
        self, x: Tensor, state: RecurrentState
    ) -> tuple[Tensor, Tensor, RecurrentState]:
        fed = torch.cat([x, state.output.unsqueeze(1)], dim=-1)
        asking, memory = self.lower(fed, state.memory)
        output = self._out(asking, self.alignment(asking, state.context))
        return output, asking, RecurrentState(state.context, memory, output[:, -1])

    def _feed_context(
        self, x: Tensor, state: RecurrentState
    ) -> tuple[Tensor, Tensor, RecurrentState]:
        asking = self.lower.summary(state.memory).unsqueeze(1)
        context = self.alignment(asking, state.context)
        top, memory = self.lower(torch.cat([x, context], dim=-1), state.memory)
        output = self._out(top, context)
        return output, asking, RecurrentState(state.context, memory, output[:, -1])

    def _out(self, top: Tensor, context: Tensor) -> Tensor:
        return torch.tanh(self.readout(self.dropout(torch.cat([top, context], dim=-1))))
