from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.layout import PER_BATCH, Layout
from ..ground.tensors import check_floats, is_tensor, shape_of
from ..stage.base import Entries
from .base import DistanceBias


@dataclass(frozen=True)
class ALiBi(DistanceBias):
    """A penalty that grows with the distance between positions: `-slope_h * |i - j|`.

    When to use it: A model has no position embeddings, should prefer near keys and should work at
    lengths that it was not trained on. Nothing has to be learnt, but the slopes can be.

    Args:
        slopes: `[H]`, or a single one for all heads, with gradient. `ALiBi.geometric(heads)` makes
            those of the source.

    Raises:
        TypeError: `slopes` is no floating tensor.
        ValueError: `slopes` has more than one dimension; when it is used, not one slope per head.

    Example:
        A = qkv.attention(query, key, bias=qkv.ALiBi(torch.tensor([0.5])))

    Source: Press, Smith, Lewis, "Train Short, Test Long" (2022), section 3; for keys on both sides
    of the query, the symmetric form.
    """

    slopes: Tensor

    name = "alibi"
    formula = "s_ij - slope_h * |i + query_offset - j|"

    def __post_init__(self) -> None:
        if not is_tensor(self.slopes) or not self.slopes.is_floating_point():
            got = self.slopes.dtype if is_tensor(self.slopes) else type(self.slopes).__name__
            raise TypeError(f"ALiBi: slopes must be a floating tensor [H]; got {got}")
        check_floats("ALiBi: slopes", self.slopes)
        if self.slopes.ndim > 1:
            raise ValueError(f"ALiBi: slopes must have shape [H]; got {shape_of(self.slopes)}")

    @staticmethod
    def geometric(heads: int, device: torch.device | str | None = None) -> ALiBi:
        """ALiBi with the slopes `2^(-8/heads), 2^(-16/heads), ...`, one per head, in float32."""
        return ALiBi(2.0 ** (-8.0 * torch.arange(1, heads + 1, device=device) / heads))

    def entries(self, layout: Layout) -> Entries:
        return [(layout.per_head(self.slopes, "ALiBi: slopes"), PER_BATCH)]

    def of(self, ahead: Tensor, *pieces: Tensor) -> Tensor:
        return -pieces[0] * ahead.abs().to(pieces[0].dtype)
