"""`impl="torch"`: `torch.nn.functional.scaled_dot_product_attention`, where a request is exactly
what its fused kernels compute.

A masked NaN poisons those kernels: a result that is not finite is given up, and so is the second
derivative, which they do not have. Both are then taken another way by whoever called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ..biases.tensor import TensorBias
from ..ground.tensors import (
    inside_transform,
    is_concrete,
    is_dual,
    is_traced,
    is_tracked,
    may_hook_what_is_saved,
    of_rank,
    sums_are_finite,
)
from ..masks.causal import Causal
from ..masks.dense import Dense
from ..masks.padding import Padding
from ..measures.base import Measure
from ..measures.product import Product
from ..normalizers.softmax import Softmax
from ..request.description import Description
from ..request.problem import layout_of
from ..scores.dot import Dot
from ..stage.base import Stage
from .accepted import Accepted
from .call import product_pullback
from .derivative import with_derivative
from .structure import stand_in_of, structure_of

NAME = "torch"


def accept(description: Description, measures: tuple[Measure, ...]) -> Accepted | str:
    """A request that is what the fused kernels compute, or why it is not."""
    if len(measures) != 1 or not isinstance(measures[0], Product):
        return "its fused kernels compute A @ value alone"
    reason = _reason(description, measures[0])
    return _Fused(description, measures[0].value) if reason is None else reason


def _reason(matrix: Description, product: Product) -> str | None:
    if type(matrix.score) is not Dot:
        return f"its fused kernels know the dot score alone, not {type(matrix.score).__name__}"
    if not isinstance(matrix.normalizer, Softmax):
        return f"its fused kernels know softmax alone, not {type(matrix.normalizer).__name__}"
    if matrix.normalizer.sink is not None:
        return "its fused kernels know no sink"
    if matrix.dropped is not None:
        return "its dropout draws other random numbers than the contract says"
    if matrix.rows is not None or matrix.chosen is not None:
        return "its fused kernels compute whole matrices alone"
    value = product.value
    reason = _mask_reason(matrix) or _shapes_reason(matrix.query, matrix.key, value)
    if reason is None:
        _check_shapes(matrix, product)
    return reason or _state_reason(matrix, value)


def _state_reason(matrix: Description, value: Tensor) -> str | None:
    tensors = [matrix.query, matrix.key, value, *_held(matrix)]
    if is_traced():
        return "its result is checked for values that are not finite, which cannot be traced"
    if inside_transform() or is_dual(*tensors):
        return "its fused kernels have no second derivative, which transforms may ask for"
    if not is_concrete(*tensors):
        return "its result is checked for values that are not finite, and here are none to read"
    if is_tracked(matrix.query, matrix.key, value) and not may_hook_what_is_saved():
        return "what its kernels save is taken by hooks for saved tensors, which are disabled here"
    return None


def _mask_reason(matrix: Description) -> str | None:
    mask, biases = matrix.mask, matrix.bias
    if isinstance(mask, Causal):
        if not isinstance(matrix.offset, int) or matrix.offset != 0:
            return "its causal kernels count positions from the first key (query_offset 0)"
    elif mask is not None and not isinstance(mask, (Padding, Dense)):
        return f"its fused kernels take no mask like {type(mask).__name__} without building it"
    tensor = mask.allowed if isinstance(mask, Dense) else None
    if len(biases) > 1 or (biases and mask is not None):
        return "its fused kernels add a single tensor bias and no mask beside it"
    for bias in biases:
        if not isinstance(bias, TensorBias):
            return f"its fused kernels know tensor biases alone, not {type(bias).__name__}"
        tensor = bias.values
        if tensor.requires_grad:
            return "its fused kernels give no gradient to a bias"
    if matrix.query.ndim > 4 and (tensor is not None or isinstance(mask, Padding)):
        return "its fused kernels take masks and biases for four dimensions at most"
    heads = matrix.query.shape[-3] if matrix.query.ndim > 2 else 1
    if tensor is not None and tensor.ndim > 2 and tensor.shape[-3] not in (1, heads):
        return "its fused kernels take one mask for all heads or one for each"
    return None


def _check_shapes(matrix: Description, product: Product) -> None:
    """Raises our own error where something does not fit, before a kernel raises its own."""
    parts: list[Stage | Product] = [*matrix.bias]
    if matrix.mask is not None and not isinstance(matrix.mask, Causal):
        parts.append(matrix.mask)
    if product.value.shape[-2] != matrix.key.shape[-2]:
        parts.append(product)
    for part in parts:
        part.entries(layout_of(matrix.query, matrix.key))


def _shapes_reason(query: Tensor, key: Tensor, value: Tensor) -> str | None:
    of_query, of_key, of_value = query.shape, key.shape, value.shape
    if not len(of_query) == len(of_key) == len(of_value):
        return "query, key and value differ in their number of dimensions"
    if not of_query[:-3] == of_key[:-3] == of_value[:-3]:
        return "its fused kernels do not broadcast batch dimensions"
    if len(of_query) > 2 and of_key[-3] != of_value[-3]:
        return "key and value differ in their heads"
    if of_value[-1] != of_query[-1]:
        return "its fused kernels need values as wide as queries"
    if 0 in of_query or 0 in of_key or 0 in of_value:
        return "there is nothing to compute"
    if not query.stride(-1) == key.stride(-1) == value.stride(-1) == 1:
        return "its fused kernels need a last dimension with stride 1"
    return None


class _Fused(Accepted):
    """A product by the fused kernel."""

    def __init__(self, description: Description, value: Tensor) -> None:
        self.description = description
        self.vectors = (description.query, description.key, value)

    @property
    def blocks(self) -> list[int]:
        return [prod(self.description.shape)]

    def run(self) -> list[Any] | None:
        if not is_tracked(*self.vectors):
            output = _attend(self.description, *self.vectors)
            return [output] if sums_are_finite(output) else None
        row = (*self.vectors, *_held(self.description))
        graph = _Graph(self.description, row)
        if not sums_are_finite(graph.output):
            return None
        results = with_derivative(graph, (graph.output,), tuple(graph.saved[3:]), row)
        graph.empty()
        return list(results)

    def gradients(self, gradient: Tensor) -> Sequence[Tensor] | None:
        def attend(*vectors: Tensor) -> Tensor:
            return _attend(self.description, *vectors)

        vector_gradients = torch.func.vjp(attend, *self.vectors)[1](gradient)
        return vector_gradients if sums_are_finite(*vector_gradients) else None


class _Graph:
    """Torch's own graph of a product, which has its first derivative. What its nodes save stands in
    a list, vectors first, to be saved elsewhere: so it holds no tensors but while it is used."""

    constant = ()
    bare = True

    def __init__(self, description: Description, row: tuple[Tensor, ...]) -> None:
        copies = [t.detach().requires_grad_(t.requires_grad) for t in row[:3]]
        saved = [*copies]

        def place_of(tensor: Tensor) -> int:
            for place, copy in enumerate(copies):
                if tensor is copy:
                    return place
            saved.append(tensor.detach())
            return len(saved) - 1

        # Nodes hold these functions: if they held the graph, it would hold itself.
        with saved_tensors_hooks(place_of, saved.__getitem__):
            self.output = _attend(description, *copies)
        self.copies, self.saved, self.in_use = copies, saved, Lock()
        self.description = structure_of(description, row)

    def empty(self) -> None:
        """Lets its tensors go."""
        self.saved.clear()
        for tensor in (*self.copies, self.output):
            tensor.data = stand_in_of(tensor)

    def backward(self, row, kept, gradients, wanted: list[int]) -> Sequence[Tensor] | None:
        if not is_concrete(*gradients):
            return None
        copies = [self.copies[i] for i in wanted]
        with self.in_use:  # other threads may ask the same graph
            self.saved += (*row[:3], *kept)
            try:
                found = torch.autograd.grad(self.output, copies, gradients, retain_graph=True)
            finally:
                self.saved.clear()
        return found if sums_are_finite(*found) else None

    def fallback(self, row, gradients, wanted: list[int]) -> Sequence[Tensor]:
        description = _holding(self.description, row[3:])
        return product_pullback(description, row[:3], gradients[0], wanted)


def _held(matrix: Description) -> list[Tensor]:
    """What its mask and biases hold."""
    mask = matrix.mask
    held = [bias.values for bias in matrix.bias if isinstance(bias, TensorBias)]
    held += [mask.lengths] if isinstance(mask, Padding) else []
    return held + ([mask.allowed] if isinstance(mask, Dense) else [])


def _holding(matrix: Description, held: Sequence[Tensor]) -> Description:
    """The same with such tensors in their places."""
    if not held:
        return matrix
    (tensor,) = held  # the kernels take one at most
    if matrix.bias:
        return replace(matrix, bias=(TensorBias(tensor),))
    mask = Dense(tensor) if isinstance(matrix.mask, Dense) else Padding(tensor)
    return replace(matrix, mask=mask)


def _attend(matrix: Description, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The fused kernel's product, with the stages of the matrix and these tensors in it."""
    assert isinstance(matrix.score, Dot)
    shape = query.shape
    if len(shape) != 4:
        # Anything but four dimensions would fall back to a kernel that builds the matrix.
        query, key, value = (_four_dimensions(tensor) for tensor in (query, key, value))
    mask = _mask_tensor(matrix)
    # The operator: at the name of its function others stand while models are accelerated.
    output = torch.ops.aten.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=None if mask is None else _four_dimensions(mask),
        is_causal=isinstance(matrix.mask, Causal),
        scale=matrix.score.factor(shape[-1]),
        enable_gqa=query.shape[-3] != key.shape[-3],
    )
    return output if len(shape) == 4 else output.reshape(*shape[:-1], value.shape[-1])


def _mask_tensor(matrix: Description) -> Tensor | None:
    mask, query, keys = matrix.mask, matrix.query, matrix.key.shape[-2]
    if isinstance(mask, Padding):
        # Torch compares no unsigned integers with others.
        lengths = mask.lengths.to(torch.int64).reshape(-1, 1)
        shown = torch.arange(keys, device=query.device) < lengths
        return shown.reshape(-1, *(1,) * max(0, query.ndim - 2), keys)
    if isinstance(mask, Dense):
        return mask.allowed
    if matrix.bias and isinstance(matrix.bias[0], TensorBias):
        return matrix.bias[0].values.to(query.dtype)
    return None


def _four_dimensions(tensor: Tensor) -> Tensor:
    return tensor.flatten(0, -4) if tensor.ndim > 4 else of_rank(tensor, 4)
