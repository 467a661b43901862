from __future__ import annotations

from typing import Any

from torch import Tensor

from ...matrix.matrix import AttentionMatrix
from ..sharing import refuse_group
from ..sizes import check_dropout, check_sizes
from .base import Encoder
from .recurrent import RecurrentEncoder
from .self_attention import SelfAttentionEncoder


class HybridEncoder(Encoder):
    """Recurrent layers below, which know the order and the neighbourhood, and self-attention above,
    which relates distant rows. Positions are not needed (their default here is "none").

    Args:
        inputs: width of the input rows.
        width: width of the states, even.
        heads, layers: of the self-attention.
        cell, recurrent_layers: as `cell` and `layers` of `RecurrentEncoder`.
        dropout: probability in all layers.
        options: of the layers above, as for `SelfAttentionEncoder`.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.

    Source: Chen et al., "The Best of Both Worlds: Combining Recent Advances in Neural Machine
    Translation" (2018), section 5, its cascaded encoder.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        heads: int = 4,
        layers: int = 1,
        *,
        cell: str = "lstm",
        recurrent_layers: int = 1,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(inputs, width)
        sizes = {"heads": heads, "layers": layers, "recurrent_layers": recurrent_layers}
        check_sizes("HybridEncoder", **sizes)
        check_dropout("HybridEncoder", dropout=dropout)
        self.below = RecurrentEncoder(
            inputs, width, cell=cell, layers=recurrent_layers, dropout=dropout
        )
        why = "recurrent layers read a sequence as a whole, in its order"
        refuse_group("HybridEncoder", options, why)
        options = {"positions": "none", **options}
        self.above = SelfAttentionEncoder(width, width, heads, layers, dropout=dropout, **options)

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        return self.above.read(self.below(x, lengths), lengths)

    def looks(self, x: Tensor, lengths: Tensor | None) -> list[AttentionMatrix]:
        return self.above.matrices(self.below(x, lengths), lengths)
