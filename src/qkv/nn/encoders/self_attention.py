from __future__ import annotations

from typing import Any

from torch import Tensor, nn

import qkv

from ...ground.tensors import is_concrete
from ...matrix.matrix import AttentionMatrix
from ..padding import real_ends, with_rows_of_padding, without_rows_of_padding
from ..positions import positions_of
from ..sharing import Sharing
from ..sizes import check_dropout, check_sizes
from ..transformer import TransformerLayer
from .base import Encoder, fitted


class SelfAttentionEncoder(Encoder):
    """The encoder of a Transformer: every state may look at every other, in one step.

    In training on a processor, sequences of uneven lengths are read one after the other in one row
    (`qkv.Documents`), so that nothing is computed for padding. Layers with a stage that may depend
    on the sequence or on the place in it read the padded batch.

    Args:
        inputs: width of the input rows; they are projected if it is not `width`.
        width, heads: as for `MultiHeadAttention`.
        layers: the number of layers, one above the other.
        positions: "sinusoidal", "rotary", "none", or a module `(x, offset) -> x` such as
            `LearntPositions(width, longest)`.
        dropout: probability for the input with its positions, and as for `TransformerLayer`.
        options: of every layer: `feedforward`, `activation`, `attention_dropout`, and the arguments
            of its `MultiHeadAttention`: `mask=qkv.Window(64, 64)`, `kv_heads=2`, ... Each layer has
            its own copy of the parameters in a stage.
        group, shards: as for `MultiHeadAttention`: `x` is then this rank's share, `[B, n, inputs]`,
            and the positions of its rows are those in the whole sequences.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.1, with normalization
    before each sublayer.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        heads: int = 4,
        layers: int = 1,
        *,
        positions: str | nn.Module = "sinusoidal",
        dropout: float = 0.0,
        group: Any = None,
        shards: str = "in order",
        **options: Any,
    ) -> None:
        super().__init__(inputs, width, Sharing("SelfAttentionEncoder", group, shards))
        check_sizes("SelfAttentionEncoder", heads=heads, layers=layers)
        check_dropout("SelfAttentionEncoder", dropout=dropout)
        self.enter = fitted(inputs, width)
        self.positions, rotary = positions_of(positions, width, "SelfAttentionEncoder")
        self.dropout = nn.Dropout(dropout)
        options |= {"dropout": dropout, "rotary": rotary, "group": group, "shards": shards}
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, **options) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        x = self._entered(x)
        if lengths is None or not self._packs(x, lengths):
            return self._through(x, _padding(lengths))
        rows, places = without_rows_of_padding(x, lengths)
        ends = real_ends(x, lengths).expand(x.shape[0])
        return with_rows_of_padding(self._through(rows, qkv.Documents(ends)), places, *x.shape[:2])

    def looks(self, x: Tensor, lengths: Tensor | None) -> list[AttentionMatrix]:
        x, mask, matrices = self._entered(x), _padding(lengths), []
        for layer in self.layers:
            assert isinstance(layer, TransformerLayer)
            matrices.append(layer.matrix(x, mask))
            x = layer(x, mask=mask)
        return matrices

    def _through(self, x: Tensor, mask: Any) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask=mask)
        return self.norm(x)

    def _packs(self, x: Tensor, lengths: Tensor) -> bool:
        """Whether the batch is read without its padding, a quarter of it at least."""
        able = self.sharing.alone and x.device.type == "cpu" and is_concrete(lengths)
        if not (self.training and able):
            return False
        layers = [layer for layer in self.layers if isinstance(layer, TransformerLayer)]
        if not all(layer.attention.reads_anywhere for layer in layers):
            return False
        real = int(real_ends(x, lengths).expand(x.shape[0]).sum())
        return 0 < real <= 0.75 * x.shape[0] * x.shape[1]

    def _entered(self, x: Tensor) -> Tensor:
        with self.sharing.telling():
            x = self.enter(x)
            if self.positions is not None:
                (x,) = self.sharing.with_positions((self.positions, x))
        return self.dropout(x)


def _padding(lengths: Tensor | None) -> qkv.Padding | None:
    return None if lengths is None else qkv.Padding(lengths)
