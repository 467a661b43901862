"""The fast paths of `nn.MultiheadAttention` and `nn.TransformerEncoderLayer`.

Each is one call that projects, attends and projects again, an encoder layer's has all else in it as
well. Query and key are projected once more for the record, and sampled rows of the output are
followed to the end. Padding arrives as a mask or as a nested tensor; in either case padded places
are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...ground.replaced import Patch
from ...masks.base import Mask
from ...masks.intervals import Intervals
from ...matrix.matrix import AttentionMatrix
from .. import residual
from ..arrival import Arrival, matrix_of
from ..patches import watched
from ..sighting import Sighting

_ATTENTION = (
    *("query", "key", "value", "width", "heads", "weight", "bias", "out_weight", "out_bias"),
    *("mask", "need_weights", "average", "mask_type"),
)
_LAYER = (
    *("source", "width", "heads", "weight", "bias", "out_weight", "out_bias", "gelu"),
    *("norm_first", "eps", "norm1_weight", "norm1_bias", "norm2_weight", "norm2_bias"),
    *("linear1_weight", "linear1_bias", "linear2_weight", "linear2_bias", "mask", "mask_type"),
)


def patches() -> list[Patch]:
    """Both functions."""
    return [
        Patch(torch, "_native_multi_head_attention", partial(_watched, _ATTENTION, _Attention)),
        Patch(torch, "_transformer_encoder_layer_fwd", partial(_watched, _LAYER, _Layer)),
    ]


def _watched(names: tuple[str, ...], kind: type[_Attention], original: Any) -> Any:
    def describe(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Sighting:
        call = kind({**dict(zip(names, args, strict=False)), **kwargs})
        return Sighting(kind.name, lambda _: call.arrival(), partial(call.residual, output))

    return watched(original, describe)


@dataclass
class _Attention:
    """What `torch._native_multi_head_attention` was given."""

    given: dict[str, Any]
    name = "nn.MultiheadAttention, fast path"

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """What queries, keys and values are projected from, each `[B, L, width]`."""
        return self.given["query"], self.given["key"], self.given["value"]

    def arrival(self) -> Arrival:
        given, inputs = self.given, self.inputs()
        weights, biases = given["weight"].chunk(3), given["bias"].chunk(3)
        query, key, value = (
            F.linear(_padded(x), weight, bias).unflatten(-1, (given["heads"], -1)).transpose(1, 2)
            for x, weight, bias in zip(inputs, weights, biases, strict=True)
        )
        return Arrival(query, key, value, mask=self._mask(inputs[0], key.shape[-2]))

    def _mask(self, x: Tensor, keys: int) -> Tensor | Mask | None:
        """torch takes whatever is not 0 in a mask of the fast path for hidden."""
        if x.is_nested:
            lengths = torch.tensor([len(sequence) for sequence in x.unbind()], device=x.device)
            stop = lengths.view(-1, 1, 1)
            real = torch.arange(int(lengths.max()), device=x.device) < stop
            return Intervals(torch.zeros_like(stop), torch.where(real, stop, 0))
        mask = self.given.get("mask")
        if mask is None:
            return None
        allowed = mask == 0
        return allowed.view(-1, 1, 1, keys) if self.given.get("mask_type") == 1 else allowed

    def residual(
        self, output: Any, arrival: Arrival, matrix: AttentionMatrix, heads: list[int] | None
    ) -> float | None:
        """Of all heads together, since the output is."""
        if heads is not None:
            arrival = self.arrival()
            matrix = matrix_of(arrival)
        assert arrival.value is not None
        rows = residual.rows_of(matrix)
        weights = matrix[..., rows, :]
        given = self.given
        attended = (weights @ arrival.value).transpose(1, 2).flatten(-2)
        ours = self.finished(F.linear(attended, given["out_weight"], given["out_bias"]), rows)
        theirs = _padded(output[0] if isinstance(output, tuple) else output)
        return residual.share(ours, theirs.index_select(1, rows), weights[:, 0])

    def finished(self, attended: Tensor, rows: Tensor) -> Tensor:
        """What the call gives for rows of attention after its projection, `[B, rows, width]`."""
        return attended


class _Layer(_Attention):
    """What `torch._transformer_encoder_layer_fwd` was given."""

    name = "nn.TransformerEncoderLayer, fast path"

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        source = self.given["source"]
        x = self._norm(1, source) if self.given["norm_first"] else source
        return x, x, x

    def finished(self, attended: Tensor, rows: Tensor) -> Tensor:
        first = self.given["norm_first"]
        x = _padded(self.given["source"]).index_select(1, rows) + attended
        x = x if first else self._norm(1, x)
        x = x + self._forward(self._norm(2, x) if first else x)
        return x if first else self._norm(2, x)

    def _norm(self, which: int, x: Tensor) -> Tensor:
        given, name = self.given, f"norm{which}"
        size = (given["width"],)
        return F.layer_norm(x, size, given[f"{name}_weight"], given[f"{name}_bias"], given["eps"])

    def _forward(self, x: Tensor) -> Tensor:
        given = self.given
        inner = F.linear(x, given["linear1_weight"], given["linear1_bias"])
        inner = F.gelu(inner) if given["gelu"] else F.relu(inner)
        return F.linear(inner, given["linear2_weight"], given["linear2_bias"])


def _padded(x: Tensor) -> Tensor:
    return x.to_padded_tensor(0.0) if x.is_nested else x
