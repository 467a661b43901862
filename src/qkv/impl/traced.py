"""Plain softmax attention where a program is traced: by `torch.compile`, `torch.export`, `make_fx`
or `torch.jit.trace`.

The eager engine itself is one opaque operator there: it keeps its checks for values that are not
finite, which depend on data and cannot be traced. Its backward is a second operator.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..ground.autocast import autocast_off
from ..ground.batches import over_batches
from ..ground.tensors import inside_transform, is_dual, is_traced
from ..masks.causal import Causal
from ..measures.base import Measure
from ..measures.product import Product
from ..normalizers.softmax import Softmax
from ..request.description import Description
from ..scores.dot import Dot
from .accepted import Accepted
from .choose import choose, run
from .plain import is_plain

NAME = "traced"


def accept(description: Description, measures: tuple[Measure, ...]) -> Accepted | str:
    """A request that is traced as one operator, or why it is not."""
    if not is_traced():
        return "no program is traced"
    if description.impl not in ("auto", "torch"):
        return f"{description.impl} is named"
    if not is_plain(description, measures):
        return "only plain softmax attention is one operator of a traced program"
    (product,) = measures
    assert isinstance(product, Product)
    if inside_transform():
        return "a torch.func transform is traced"
    vectors = (description.query, description.key, product.value)
    if not torch.compiler.is_compiling() and is_dual(*vectors):
        return "forward-mode AD is traced"
    return _Operator(description, product.value)


class _Operator(Accepted):
    """The product as one traced operator, which chooses again as it runs."""

    def __init__(self, description: Description, value: Tensor) -> None:
        self.description, self.value = description, value

    @property
    def blocks(self) -> list[int]:
        return [prod(self.description.shape)]

    def run(self) -> list[Any]:
        description = self.description
        assert isinstance(description.score, Dot)
        scale = description.score.factor(description.query.shape[-1])
        how = (
            scale,
            description.mask is not None,
            description.offset or 0,
            description.impl,
            description.memory,
        )
        return [torch.ops.qkv.attend(description.query, description.key, self.value, *how)]


def _description(query, key, scale, causal, offset, impl, memory) -> Description:
    mask = Causal() if causal else None
    return Description(query, key, Dot(scale), (), mask, Softmax(), offset, impl, memory)


@torch.library.custom_op("qkv::attend", mutates_args=())
def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    causal: bool,
    offset: int,
    impl: str,
    memory: int,
) -> Tensor:
    description = _description(query, key, scale, causal, offset, impl, memory)
    with autocast_off(query.device):
        (product,) = run(description, (Product(value),))
    return product.contiguous()


@_attend.register_fake
def _(query, key, value, *how):
    batch = torch.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3])
    heads = query.shape[-3:-2]
    return query.new_empty(*batch, *heads, query.shape[-2], value.shape[-1])


@torch.library.custom_op("qkv::attend_backward", mutates_args=())
def _attend_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    causal: bool,
    offset: int,
    impl: str,
    memory: int,
) -> tuple[Tensor, Tensor, Tensor]:
    description = _description(query, key, scale, causal, offset, impl, memory)
    gradients = choose(description, (Product(value),)).accepted.gradients(gradient)
    vectors = (query, key, value)
    if gradients is None:

        def again(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            tiled = replace(description, query=query, key=key, impl="tiled")
            return run(tiled, (Product(value),))[0]

        # Inside an operator autograd is off; torch.func has its own.
        gradients = torch.func.vjp(again, *vectors)[1](gradient)
    pairs = zip(gradients, vectors, strict=True)
    for_query, for_key, for_value = (part.reshape(t.shape).contiguous() for part, t in pairs)
    return for_query, for_key, for_value


@_attend_backward.register_fake
def _(gradient, query, key, value, *how):
    return tuple(tensor.new_empty(tensor.shape) for tensor in (query, key, value))


def _save(ctx, inputs, output):
    query, key, value, *ctx.how = inputs
    ctx.save_for_backward(query, key, value)


@over_batches
def _backward(ctx, gradient: Tensor):
    with autocast_off(gradient.device):
        gradients = torch.ops.qkv.attend_backward(gradient, *ctx.saved_tensors, *ctx.how)
    return (*gradients, *(None for _ in ctx.how))


_attend.register_autograd(_backward, setup_context=_save)
