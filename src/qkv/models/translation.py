"""What a model must define to write translations token by token."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from qkv import AttentionMatrix


class TranslationModel(Protocol):
    """Maps token numbers to logits; token 0 is padding. `start` returns a state and `decode` takes
    it. The state has `spread(beam)`, which gives each sentence its hypotheses side by side, and
    `reorder(rows)`, which keeps those that go on."""

    def start(self, source: Tensor, lengths: Tensor) -> Any:
        """The state before the first step, for `lengths` `[B]` of `source` `[B, Lk]`."""
        ...

    def decode(self, target: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits `[B, Lq, target_tokens]` after each token of `target` `[B, Lq]`, and the state."""
        ...

    def matrices(self, source: Tensor, lengths: Tensor, target: Tensor) -> list[AttentionMatrix]:
        """Where it looks as it reads `target` `[B, Lq]`: a matrix `[B, H, Lq, Lk]` for each layer
        that attends, from below. Row i belongs to the step after token i."""
        ...
