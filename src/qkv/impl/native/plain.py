"""Plain softmax attention by the native kernels, on the shortest way to them and back: small calls
cost little more than their work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import torch
from torch import Tensor
from torch._C import _is_any_autocast_enabled

from ... import native
from ...ground.tensors import (
    are_ordinary,
    inside_transform,
    is_dual,
    is_recorded,
    is_tracked,
    kernel_obstacle,
)
from ...masks.causal import Causal
from ...measures.base import Measure
from ...measures.product import Product
from ...native import quicker
from ...normalizers.base import Normalizer
from ...normalizers.softmax import Softmax
from ...request.description import DEFAULT_MEMORY, Description
from ...scores.dot import Dot
from ..accepted import Accepted
from ..call import product_pullback
from ..derivative import with_derivative
from ..plain import is_plain
from .stages import WIDEST, too_many_keys

_DOT, _SOFTMAX = Dot(), Softmax()
_Vectors = tuple[Tensor, Tensor, Tensor]  # query, key and value


def accept(description: Description, measures: tuple[Measure, ...]) -> Plain | None:
    """Plain attention whose tensors are as they most often are: `[H, L, D]` or `[B, H, L, D]`,
    nothing broadcast, nothing empty."""
    if not is_plain(description, measures):
        return None
    (product,) = measures
    assert isinstance(product, Product)
    vectors = description.query, description.key, product.value
    if kernel_obstacle(*vectors) is not None or not _fit(*vectors):
        return None
    return Plain(description, vectors)


def _fit(query: Tensor, key: Tensor, value: Tensor) -> bool:
    # Slices of shapes would take as long as all of this.
    of_query, of_key, of_value = query.shape, key.shape, value.shape
    rank = len(of_query)
    return (
        (rank == 4 or rank == 3)
        and rank == len(of_key) == len(of_value)
        and of_query[-1] == of_key[-1] <= WIDEST
        and of_key[-2] == of_value[-2]
        and of_key[-3] == of_value[-3]
        and (rank == 3 or of_query[0] == of_key[0] == of_value[0])
        and of_value[-1] <= WIDEST
        and 0 not in of_query
        and 0 not in of_value
        and of_query[-3] % of_key[-3] == 0
        and not too_many_keys(of_key[-2])
        and query.is_cpu
        and query.dtype in native.TYPES
    )


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Causal | None = None) -> Tensor | None:
    """`softmax(query @ key.mT / √D) @ value` without the checks of a matrix, for these would take
    longer than the product of a few queries and keys. None where this takes more than the kernels
    and their first derivatives, where torch may be quicker, or where anything is wrong; so too of
    a `mask` where there are not as many keys as queries."""
    if torch.compiler.is_compiling() or not (
        are_ordinary(query, key, value)
        and query.dtype is key.dtype is value.dtype
        and not _is_any_autocast_enabled()
        and not is_recorded()
        and not inside_transform()
        and not is_dual(query, key, value)
        and _fit(query, key, value)
        and (mask is None or query.shape[-2] == key.shape[-2])
        and native.unavailable_reason() is None
        and not (quicker.LOST and native.instruction_set() in quicker.LOST)
    ):
        return None
    vectors = query, key, value
    offset = 0 if query.shape[-2] == key.shape[-2] else None
    return _Loops(query, key, _DOT, mask, _SOFTMAX, offset, "auto", DEFAULT_MEMORY).product(vectors)


def _rounded(wide: Tensor, dtype: torch.dtype) -> Tensor:
    """The product as it is handed out; `to` takes as long to find that there is nothing to do as to
    make a tensor."""
    return wide if wide.dtype is dtype else wide.to(dtype)


class _Loops:
    """The kernels, and what they are told beside the vectors. The logsumexp is computed where
    gradients may be asked for. It holds none of the vectors, and so it is what the graph keeps."""

    bare = True
    constant = ()

    def __init__(
        self,
        query: Tensor,
        key: Tensor,
        score: Dot,
        mask: Causal | None,
        normalizer: Normalizer,
        offset: int | None,
        impl: str,
        memory: int,
    ) -> None:
        self.options = score, (), mask, normalizer, offset, impl, memory  # of a description
        self.scale = score.factor(query.shape[-1])
        self.intervals: Tensor | None = None
        if mask is not None:
            assert offset is not None
            self.intervals = _up_to_position(query.shape[-2], key.shape[-2], offset)

    def product(self, vectors: _Vectors) -> Tensor:
        """As autograd knows it, if it follows one of the vectors."""
        tracked = is_tracked(*vectors)
        wide, logsumexp = native.plain_forward(*vectors, self.scale, self.intervals, tracked)
        output = _rounded(wide, vectors[0].dtype)
        if logsumexp is not None:
            (output,) = with_derivative(self, (output,), (wide, logsumexp), vectors)
        return output

    def gradients(
        self, vectors: _Vectors, output: Tensor, logsumexp: Tensor, gradient: Tensor
    ) -> tuple[Tensor, ...]:
        """Those of the vectors, given that of the product, which is there before it is rounded."""
        saved = output, logsumexp, gradient
        return native.plain_backward(*vectors, self.scale, self.intervals, *saved)

    def backward(self, row, kept, gradients, wanted: list[int]) -> Sequence[Tensor] | None:
        (gradient,) = gradients
        if kernel_obstacle(gradient) is not None:
            return None
        output, logsumexp = kept
        found = self.gradients(row, output, logsumexp, gradient)
        return [found[i] for i in wanted]

    def fallback(self, row, gradients, wanted: list[int]) -> Sequence[Tensor]:
        query, key, _ = row
        description = Description(query, key, *self.options)
        return product_pullback(description, row, gradients[0], wanted)


class Plain(Accepted):
    """A product by the shortest way."""

    def __init__(self, description: Description, vectors: _Vectors) -> None:
        self.description, self.vectors = description, vectors
        asked = description
        assert isinstance(asked.score, Dot)
        assert not isinstance(asked.offset, Tensor)
        assert asked.mask is None or isinstance(asked.mask, Causal)
        self.loops = _Loops(
            asked.query, asked.key, asked.score, asked.mask, asked.normalizer, asked.offset,
            asked.impl, asked.memory,
        )  # fmt: skip

    @property
    def blocks(self) -> list[int]:
        return [prod(self.description.shape)]

    def run(self) -> list[Tensor]:
        return [self.loops.product(self.vectors)]

    def gradients_of_part(
        self, output: Tensor, logsumexp: Tensor, gradient: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        kept = output.contiguous(), logsumexp.to(torch.float64).contiguous()
        query, key, value = (vector.detach() for vector in self.vectors)
        gradient = gradient.to(self.description.dtype).contiguous()
        found = self.loops.gradients((query, key, value), *kept, gradient)
        return list(zip(self.vectors, found, strict=True))

    def gradients(self, gradient: Tensor) -> Sequence[Tensor]:
        loops = self.loops
        wide, logsumexp = native.plain_forward(*self.vectors, loops.scale, loops.intervals, True)
        assert logsumexp is not None
        return loops.gradients(self.vectors, wide, logsumexp, gradient)


@lru_cache(maxsize=8)
def _up_to_position(queries: int, keys: int, offset: int) -> Tensor:
    """The keys up to each query's position, int32 `[1, 1, 1, Lq, 1, 2]`."""
    stop = torch.arange(offset + 1, offset + 1 + queries, device="cpu").clamp(0, keys)
    bounds = torch.stack([torch.zeros_like(stop), stop], -1).to(torch.int32)
    return bounds.reshape(1, 1, 1, queries, 1, 2)
