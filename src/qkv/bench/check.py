"""Whether a contender is right: the oracle's results, and the comparison of contract 4."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

import qkv
from qkv.bench.work import Case, Contender, Inputs, Results
from qkv.ground.tensors import accumulation_dtype
from qkv.measures.cells import Links
from qkv.testing.comparator import assert_close, tolerance

_STRIP = 16  # queries of each of three strips that are checked


class Oracle:
    """The truth about a case. Of a long one some queries are checked, at the start, in the middle
    and at the end, with the gradients that flow from them; where results need all queries, all of
    them in the first head."""

    def __init__(self, case: Case, inputs: Inputs) -> None:
        self.case = case
        self.rows = _rows(inputs.query.shape[-2], case.whole)
        self.inputs = inputs.with_cotangent_of(self.rows)

    def check(self, contender: Contender, result: Results) -> None:
        """Raises AssertionError where a result of a contender, made from `self.inputs`, differs
        from the truth by more than contract 4 allows."""
        expected = len(self._truth) if contender.gives is None else contender.gives
        if len(result) != expected:
            raise AssertionError(f"must give {expected} results; got {len(result)}")
        for index, each in enumerate(self._checked(result)):
            assert_close(
                each.detach(),
                self._truth[index],
                self._baseline[index],
                what=f"result {index}",
                rounding=self._rounding,
            )

    def _checked(self, result: Results) -> Results:
        if self.case.whole:
            return tuple(each[:, :1] for each in result)
        return result[0][..., self.rows, :], *result[1:]

    @cached_property
    def _rounding(self) -> float:
        """How inexact sums are that cancel: as inexact as their largest terms, which are as large
        as what goes in or comes out. Each term passes through several operations."""
        tensors = (*self.inputs.leaves, *self._truth)
        largest = max(tensor.detach().abs().max().item() for tensor in tensors)
        return 8 * tolerance(accumulation_dtype(self.inputs.query.dtype)) * largest

    @cached_property
    def _truth(self) -> Results:
        return self._dense(torch.float64)

    @cached_property
    def _baseline(self) -> Results:
        return self._dense(self.inputs.query.dtype)

    def _dense(self, dtype: torch.dtype) -> Results:
        """The results by the definitions, with whole rows of the matrix in a dtype."""
        inputs, case = self.inputs.to(dtype), self.case
        if case.whole:
            inputs = Inputs(inputs.query[:, :1], inputs.key[:, :1], inputs.value[:, :1])
        options = case.options(inputs)
        matrix = qkv.attention(inputs.query, inputs.key, impl="reference", **options)
        if case.whole:
            return flat(matrix.measure(*case.measures(inputs)))
        repeated = inputs.query.shape[-3] // inputs.value.shape[-3]
        value = inputs.value.repeat_interleave(repeated, -3)
        output = matrix[..., self.rows, :] @ value
        if inputs.cotangent is None:
            return (output,)
        cotangent = inputs.cotangent[..., self.rows, :]
        return output.detach(), *torch.autograd.grad(output, inputs.leaves, cotangent)


def flat(measured: object) -> Results:
    """Results of measures in a row; of links their weights, for equal ones may come in any
    order."""
    return tuple(each.weights if isinstance(each, Links) else each for each in measured)  # pyright: ignore


def _rows(queries: int, whole: bool) -> Tensor:
    if whole or queries <= 4 * _STRIP:
        return torch.arange(queries)
    strip, middle = torch.arange(_STRIP), queries // 2
    return torch.cat([strip, strip + middle, strip + queries - _STRIP])
