"""How the state of a recurrent decoder is compared with the states of an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import qkv

from ...ground.autocast import cast_for_autocast
from ...matrix.matrix import AttentionMatrix
from ..cache import PreparedContext
from ..held import Held
from ..linear import Linear
from ..padding import without_padding

ADDITIVE = ("additive", "concat")
SCORES = (*ADDITIVE, "general", "dot")


class Alignment(nn.Module):
    """Attention with one head, whose values are the encoder's states themselves.

    Args:
        score: "additive" (Bahdanau's, which Luong calls "concat"): a one-layer network with
            `hidden` neurons; "general": the inner product through a matrix; "dot": the inner
            product, unscaled, of states of the same width. Or any score of qkv for these widths.
        width, context_width: the widths of the decoder's and the encoder's states.
        hidden: the width of the hidden layer, for the additive score alone.

    Raises:
        ValueError: there is no such score, or it does not fit the widths.
        TypeError: `score` is neither a name nor a score.

    Source: Luong, Pham, Manning, "Effective Approaches to Attention-based Neural Machine
    Translation" (2015), section 3.1; Bahdanau et al. (2015), appendix A.1.2.
    """

    def __init__(self, score: Any, width: int, context_width: int, hidden: int) -> None:
        super().__init__()
        self.query: nn.Module = nn.Identity()
        self.key: nn.Module = nn.Identity()
        if isinstance(score, str) and score not in SCORES:
            known = ", ".join(SCORES)
            raise ValueError(
                f"RecurrentDecoder: score must be a score or one of {known}; got {score!r}"
            )
        if score in ADDITIVE:
            self.query = Linear(width, hidden, bias=False)
            self.key = Linear(context_width, hidden)
            score = qkv.Additive(_spread(hidden, bound=hidden**-0.5))
        elif score == "general":
            score = qkv.Bilinear(_spread(width, context_width, bound=context_width**-0.5))
        elif score == "dot":
            score = qkv.Dot(scale=1.0)
        self.score = Held(score)
        self.matrix(torch.zeros(1, 1, width), self.prepare(torch.zeros(1, 1, context_width), None))

    def prepare(self, states: Tensor, lengths: Tensor | None) -> PreparedContext:
        """What every query needs of the encoder's states `[B, Lk, context_width]`; `lengths` `[B]`
        counts the real ones."""
        states = cast_for_autocast(without_padding(states, lengths))
        key = qkv.prepare(self.key(states).unsqueeze(1), self.score())
        return PreparedContext(key, states.unsqueeze(1), lengths)

    def matrix(self, states: Tensor, context: PreparedContext) -> AttentionMatrix:
        """How decoder states `[B, Lq, width]` look at the encoder's: a matrix `[B, 1, Lq, Lk]`."""
        mask = None if context.lengths is None else qkv.Padding(context.lengths)
        query = self.query(cast_for_autocast(states)).unsqueeze(1)
        return qkv.attention(query, context.key, mask=mask)

    def forward(self, states: Tensor, context: PreparedContext) -> Tensor:
        """The context vector of each decoder state, `[B, Lq, context_width]`."""
        brought = self.matrix(context.together(states), context) @ context.value
        return brought.reshape(*states.shape[:-1], -1)


def _spread(*shape: int, bound: float) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
