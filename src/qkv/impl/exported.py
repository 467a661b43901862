"""A request in a model that `torch.onnx.export` makes: the standard operator where that says the
same, plain operators otherwise.

What a model of ONNX is run with is not known, nor how large it is: nothing is cut into blocks, and
no operator of our own stands in it. All values are taken to be finite, as they are by everyone who
runs such models.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..biases.base import DistanceBias, ProductBias
from ..biases.tensor import TensorBias
from ..blocks.tiling import Block
from ..ground.tensors import accumulation_dtype, of_rank
from ..masks.causal import Causal
from ..measures.base import Measure
from ..measures.product import Product
from ..normalizers.softmax import Softmax
from ..request.description import Description
from ..request.strip import Strip
from ..scores.dot import Dot
from .accepted import Accepted
from .call import Call

NAME = "exported"

_ADDED = (TensorBias, DistanceBias, ProductBias)  # biases that are added to the scores


def accept(description: Description, measures: tuple[Measure, ...]) -> Accepted | str:
    """A request that becomes operators of ONNX, or why it does not."""
    is_standard = _is_standard(description, measures)
    if description.impl == "native" or (description.impl == "torch" and not is_standard):
        return f"{description.impl} is named"
    return _Exported(description, measures, is_standard)


class _Exported(Accepted):
    """A request by operators that everyone who runs ONNX knows."""

    def __init__(
        self, description: Description, measures: tuple[Measure, ...], is_standard: bool
    ) -> None:
        self.description, self.is_standard = description, is_standard
        self.call = Call.of(description, measures)

    @property
    def blocks(self) -> list[int]:
        return [self.call.layout.cell_count]

    def run(self) -> list[Any]:
        with _ExactNumbers():
            return self._results()

    def _results(self) -> list[Any]:
        call = self.call
        layout, pieces = call.layout, call.pieces(call.tensors)
        whole = Block.whole(layout.lead, layout.queries, layout.keys)
        strip = Strip(call.problem, whole, pieces, finite=True, at_once=True)
        if self.is_standard:
            return [_by_attention(self.description, call.measures[0], strip)]
        pairs = zip(call.measures, pieces.measures, strict=True)
        results = [result for measure, own in pairs for result in measure.run(strip, *own)]
        places = zip(results, call.outputs, strict=True)
        return call.finished([one.to(out.dtype).expand(out.shape) for one, out in places])


class _ExactNumbers(TorchFunctionMode):
    """Makes tensors of the numbers that stand beside tensors of float64: of others the model would
    have no more digits than float32 has."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if any(isinstance(arg, Tensor) and arg.dtype is torch.float64 for arg in args):
            exact = (torch.tensor(a, dtype=torch.float64) if type(a) is float else a for a in args)
            args = tuple(exact)
        return func(*args, **(kwargs or {}))


def _is_standard(description: Description, measures: tuple[Measure, ...]) -> bool:
    """Whether the operator Attention, of opset 23 on, computes this."""
    if (
        description.impl not in ("auto", "torch")
        or len(measures) != 1
        or type(measures[0]) is not Product
    ):
        return False
    query, key, value = description.query, description.key, measures[0].value
    return (
        type(description.score) is Dot
        # Query and key are each multiplied by the root of it.
        and description.score.factor(query.shape[-1]) > 0
        and type(description.normalizer) is Softmax
        and description.normalizer.sink is None
        and all(isinstance(bias, _ADDED) for bias in description.bias)
        and description.dtype is not torch.float64
        and description.dropped is None
        and description.rows is None
        and description.chosen is None
        and query.ndim == key.ndim == value.ndim <= 4
        and query.shape[:-3] == key.shape[:-3] == value.shape[:-3]
        and key.shape[-3:-2] == value.shape[-3:-2]
    )


def _by_attention(description: Description, product: Measure, strip: Strip) -> Tensor:
    """The product by the operator. Who runs it may give anything to a row that sees nothing: it is
    replaced by 0, unless every row sees the first key."""
    assert isinstance(product, Product)
    assert isinstance(description.score, Dot)
    query, wide = description.query, accumulation_dtype(description.dtype)
    vectors = (of_rank(t, 4).to(wide) for t in (query, description.key, product.value))
    query, key, value = vectors
    from_start = isinstance(description.offset, int) and description.offset == 0
    is_causal = type(description.mask) is Causal and from_start and not description.bias
    mask = None if is_causal else _mask(strip, wide)
    # The operator: at the name of its function others stand while models are accelerated.
    output = torch.ops.aten.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=is_causal,
        scale=description.score.factor(query.shape[-1]),
        enable_gqa=query.shape[-3] != key.shape[-3],
    )
    if mask is not None:
        shown = mask if mask.dtype is torch.bool else mask != -torch.inf
        output = torch.where(shown.any(-1, keepdim=True), output, 0)
    output = output.to(description.dtype)
    missing = 4 - description.query.ndim
    return output.reshape(output.shape[missing:]) if missing else output


def _mask(strip: Strip, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores, with -inf where a key is hidden, or what is shown: four
    dimensions, broadcastable to the matrix."""
    shown, layout = strip.mask, strip.layout
    biases = zip(strip.problem.biases, strip.pieces.biases, strict=True)
    added = None
    for bias, own in biases:
        start = torch.zeros((), dtype=dtype, device=strip.problem.device)
        added = bias.apply(start if added is None else added, strip.cells, *own)
    if added is None:
        mask = shown
    else:
        mask = added if shown is None else torch.where(shown, added, -torch.inf)
    if mask is None:
        return None
    mask = of_rank(mask, len(layout.lead) + 2)
    mask = mask.expand(*mask.shape[:-2], layout.queries, layout.keys)
    return of_rank(layout.by_head(mask), 4)
