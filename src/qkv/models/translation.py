"""What a model must answer that is to write translations token by token."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from qkv import AttentionMatrix


class TranslationModel(Protocol):
    """Token numbers in, logits out; token 0 is padding. The state that `start` gives and `decode`
    takes has `spread(beam)`, for the hypotheses of each sentence, side by side, and
    `reorder(rows)`, for those that go on."""

    def start(self, source: Tensor, lengths: Tensor) -> Any:
        """The state before the first step, for `lengths` `[B]` of `source` `[B, Lk]`."""
        ...

    def decode(self, target: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits `[B, Lq, target_tokens]` after each token of `target` `[B, Lq]`, and the state."""
        ...

    def matrices(self, source: Tensor, target: Tensor) -> list[AttentionMatrix]:
        """Where it looks as it reads `target` `[Lq]`, for one `source` `[Lk]`: of each layer that
        attends, from below, `[H, Lq, Lk]`. Row i is the look taken after token i was read."""
        ...
