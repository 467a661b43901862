"""The attention matrix as an object. Making one computes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..ground.jit import with_int_sizes
from ..ground.tensors import is_tensor
from ..measures.base import Measure
from ..measures.cells import Columns, Links, Top
from ..measures.pool import Pool
from ..measures.product import Collected, Product
from ..measures.statistics import Distance, Entropy, LogSumExp, Mass, Support
from ..request.chosen import Chosen, Entry, then
from ..request.description import Description
from ..stage.base import type_given
from ..stage.dropout import Dropout
from . import dispatch
from .explain import Explanation, explain
from .notebook import html_of
from .operand import operand
from .picture import draw
from .region import Region, indices, split


class _MatrixProduct:
    """Lets `torch.matmul(A, value)` mean `A @ value`."""

    def __matmul__(self, other: Tensor) -> Tensor:
        raise NotImplementedError

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.matmul, torch.Tensor.matmul) and len(args) == 2 and not kwargs:
            left, right = args
            if isinstance(left, cls):
                return left.__matmul__(right)
            if torch.compiler.is_compiling():
                # Dynamo turns `A @ value` into this call and swaps the operands on the way.
                return right.__matmul__(left)
        raise TypeError(
            f"{getattr(func, '__name__', func)}: an attention matrix is no tensor; multiply by it "
            "from the left (A @ value, A.mT @ x) or take A.dense()"
        )


@dataclass(frozen=True, eq=False, repr=False)
class AttentionMatrix(_MatrixProduct, Description):
    """The weights with which queries look at keys, `[B..., H, Lq, Lk]`, never built.

    Made by `qkv.attention`, which checks its arguments. Multiply by it (`A @ value`,
    `A.mT @ x`), look into it (`A[..., rows, cols]`, `A.top(8)`, `A.entropy()`, ...), differentiate
    through all of it. Everything takes memory linear in the lengths unless it says otherwise.
    """

    @property
    def mT(self) -> TransposedMatrix:  # noqa: N802
        """The transposed matrix, as lazy as this one: `A.mT @ x` is what each key collects."""
        return TransposedMatrix(self)

    def __matmul__(self, other: Tensor) -> Tensor:
        """Weighted sums of the values: `[B..., H, Lk, Dv] -> [B..., H, Lq, Dv]`."""
        return dispatch.run(self, Product(other).ready(partial(operand, self)))[0]

    def measure(self, *measures: Measure) -> Measured:
        """Several measures in one sweep over the matrix.

        Args:
            measures: e.g. `Product(value), Mass(), Entropy(), Top(8)`.

        Returns:
            Their results: by name (`.mass`, `.top`), and by position in the order given.

        Raises:
            TypeError: something that is no measure.
        """
        measures = self._ready("measure", measures)
        return Measured(measures, tuple(dispatch.run(self, *measures)))

    def top(self, k: int) -> Links:
        """The `k` strongest links of each query: `weights, indices`, `[B..., H, Lq, k]`."""
        return dispatch.run(self, Top(k))[0]

    def entropy(self) -> Tensor:
        """The entropy of each query's weights in nats, `[B..., H, Lq]`."""
        return dispatch.run(self, Entropy())[0]

    def distance(self) -> Tensor:
        """The mean distance that each query looks over, in positions, `[B..., H, Lq]`."""
        return dispatch.run(self, Distance())[0]

    def support(self) -> Tensor:
        """The number of keys with weight > 0, per query, `[B..., H, Lq]`."""
        return dispatch.run(self, Support())[0]

    def pool(self, rows: int, cols: int, how: str = "max") -> Tensor:
        """A coarse map of the whole matrix, `[B..., H, rows, cols]`: see `qkv.Pool`."""
        return dispatch.run(self, Pool(rows, cols, how))[0]

    def mass(self) -> Tensor:
        """The attention that each key received: column sums, `[B..., H, Lk]`."""
        return dispatch.run(self, Mass())[0]

    def logsumexp(self) -> Tensor:
        """The logarithm of the sum of exponentials of each query's scores, `[B..., H, Lq]`.

        Raises:
            UnsupportedError: the normalizer is no softmax.
        """
        return dispatch.run(self, LogSumExp())[0]

    @with_int_sizes
    def __getitem__(self, index: Any) -> Any:
        """The weights of a region, dense: `A[..., rows, cols]`; or, where leading dimensions alone
        are indexed, a matrix that is as lazy as this one: `A[batch, head]`.

        All are integers, slices or index tensors; several index tensors mean their outer product.
        Only what is chosen is computed. Chosen heads stand for themselves: values beside them have
        a head each, or one for all.
        """
        lead, cells = split(index, self.shape)
        chosen = self._entries(lead)
        if cells is None:
            return chosen
        return Region.of(*cells, self.shape, self.device).weights(chosen)

    def _entries(self, lead: tuple[Any, ...]) -> AttentionMatrix:
        """The same matrix with some entries of its leading dimensions."""
        everything = slice(None)
        entries: Chosen = tuple(
            None
            if isinstance(index, slice) and index == everything
            else Entry(*indices(index, size, "leading indices", self.device))
            for index, size in zip(lead, self.shape[:-2], strict=True)
        )
        if not any(entries):
            return self
        if self.chosen is not None:
            entries = then(self.chosen, entries)
        return replace(self, chosen=entries)

    @with_int_sizes
    def dense(self, max_bytes: int = 2**30) -> Tensor:
        """The whole matrix as a tensor, `[B..., H, Lq, Lk]`.

        Raises:
            ValueError: it would take more than `max_bytes`.
        """
        size = self.dtype.itemsize
        for extent in self.shape:
            size *= extent
        if size > max_bytes:
            raise ValueError(
                f"dense: the whole matrix {list(self.shape)} would take {size:,} bytes, "
                f"max_bytes is {max_bytes:,}; take a region A[..., rows, cols] or a statistic"
            )
        return self[..., :, :]

    @with_int_sizes
    def scores(
        self, rows: Any = slice(None), cols: Any = slice(None), biased: bool = False
    ) -> Tensor:
        """Raw scores of a region, `[B..., H, rows, cols]`, as if nothing were masked.

        Args:
            rows, cols: integers, slices or index tensors.
            biased: with the biases in them.
        """
        return Region.of(rows, cols, self.shape, self.device).scores(self, biased)

    @with_int_sizes
    def explain(
        self, row: int, value: Tensor | None = None, at: tuple[int, ...] | None = None
    ) -> Explanation:
        """The three stages for one query with real numbers: see `qkv.Explanation`.

        Args:
            row: the query.
            value: `[B..., H, Lk, Dv]`, to see the weighted values as well.
            at: which entry of the leading dimensions; default: the first one.
        """
        return explain(self, row, value, at)

    def picture(
        self,
        path: str | os.PathLike[str],
        rows: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        at: tuple[int, ...] | None = None,
        title: str = "",
    ) -> None:
        """Draw a map of the weights to a `.png`, `.svg` or `.pdf` file. Needs matplotlib.

        A matrix of more than 150 queries or 80 keys is drawn as a coarse map, `A.pool`, of the
        largest weight in each part, and never built; a line below the map says so. The strongest
        colour is that of the largest weight, which the bar beside the map names.

        Args:
            path: the file; it appears when it is complete.
            rows, columns: a label for each query, for each key; None: their positions.
            at: which entry of the leading dimensions; default: the first one.
            title: a line above the map.

        Raises:
            ValueError: labels that are not as many as queries or keys, weights that are negative or
                not finite, another kind of file.
            OSError: the file cannot be written.
        """
        draw(self, path, rows, columns, at, title)

    def dropout(self, p: float, seed: int | Tensor | None = None) -> AttentionMatrix:
        """The same matrix with weights dropped with probability `p`, the others divided by `1 - p`.

        Which ones is a pure function of (seed, batch, head, row, column), the same in every
        implementation, forward and backward.

        Args:
            p: in [0, 1).
            seed: an integer of 64 bits, signed or not; None draws one from torch's generator.
        """
        return replace(self, dropped=Dropout.of(p, seed, self.device))

    def plan(self, operation: str | Measure | Sequence[Measure] = "matmul") -> dispatch.Plan:
        """Which implementation will run an operation, why, its memory and arithmetic.

        Args:
            operation: "matmul", "mT", "dense", "top", "entropy", "mass", "distance", "support",
                "pool" or "logsumexp"; or measures, for a sweep that takes them together. Where the
                operation has an operand, one as wide as query and key is assumed.
        """
        if not isinstance(operation, str):
            single = isinstance(operation, (Measure, type))
            measures = self._ready("plan", (operation,) if single else tuple(operation))
            return dispatch.plan(self, "measure", measures)
        value, x = self.key, self.query
        if self.chosen is not None:
            value, x = value[(0,) * (value.ndim - 2)], x[(0,) * (x.ndim - 2)]
        stand_in: dict[str, Callable[[], Measure]] = {
            "matmul": lambda: Product(value),
            "mT": lambda: Collected(x),
            "dense": lambda: Columns(torch.arange(self.shape[-1], device=self.device)),
            "top": lambda: Top(1),
            "entropy": Entropy,
            "mass": Mass,
            "distance": Distance,
            "support": Support,
            "pool": lambda: Pool(1, 1),
            "logsumexp": LogSumExp,
        }
        if operation not in stand_in:
            known = ", ".join(stand_in)
            raise ValueError(f"plan: operation must be one of {known}; got {operation!r}")
        return dispatch.plan(self, operation, (stand_in[operation](),))

    def to(self, *args: Any, **kwargs: Any) -> AttentionMatrix:
        """The same matrix with its tensors on another device, floating ones in another dtype."""
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)  # pyright: ignore

        def moved(tensor: Tensor) -> Tensor:
            cast = dtype if tensor.is_floating_point() else None
            return tensor.to(device, cast, non_blocking)

        return _map_tensors(self, moved)

    def detach(self) -> AttentionMatrix:
        """The same matrix without gradients."""
        return _map_tensors(self, Tensor.detach)

    def __repr__(self) -> str:
        parts = [f"shape={list(self.shape)}", f"score={self.score.name}"]
        if self.bias:
            parts.append(f"bias={'+'.join(bias.name for bias in self.bias)}")
        if self.mask is not None:
            parts.append(f"mask={self.mask.label}")
        parts.append(f"normalizer={self.normalizer.name}")
        if self.dropped is not None:
            parts.append(f"dropout={self.dropped.probability}")
        parts.append(f"dtype={self.dtype}, device={self.device}, impl={self.impl}")
        return f"AttentionMatrix({', '.join(parts)})"

    def _repr_html_(self) -> str:
        return html_of(self)

    def _ready(self, where: str, measures: tuple[Any, ...]) -> tuple[Measure, ...]:
        """Measures, after a check, with what the matrix is multiplied by as it takes it."""
        _check_measures(where, measures)
        take = partial(operand, self)
        return tuple(measure.ready(take) for measure in measures)


@dataclass(frozen=True, eq=False)
class TransposedMatrix(_MatrixProduct):
    """The transposed attention matrix, `[B..., H, Lk, Lq]`. Made by `A.mT`."""

    matrix: AttentionMatrix

    @property
    def shape(self) -> torch.Size:
        """`[B..., H, Lk, Lq]`."""
        *lead, rows, cols = self.matrix.shape
        return torch.Size((*lead, cols, rows))

    @property
    def mT(self) -> AttentionMatrix:  # noqa: N802
        """The matrix itself."""
        return self.matrix

    def __matmul__(self, other: Tensor) -> Tensor:
        """What each key collects: `[B..., H, Lq, Dx] -> [B..., H, Lk, Dx]`."""
        matrix = self.matrix
        return dispatch.run(matrix, Collected(other).ready(partial(operand, matrix)))[0]


class Measured(tuple):
    """Results of `measure`, in the order of the measures and as attributes of their names."""

    names: tuple[str, ...]

    def __new__(cls, measures: tuple[Measure, ...], results: tuple[Any, ...]) -> Measured:
        """Results beside the names of the measures that they come from."""
        made = super().__new__(cls, results)
        made.names = tuple(measure.name for measure in measures)
        return made

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self.names:
            return self[self.names.index(name)]
        raise AttributeError(f"no measure {name!r} was taken; these were: {', '.join(self.names)}")


def _check_measures(where: str, measures: tuple[Any, ...]) -> None:
    for measure in measures:
        if not isinstance(measure, Measure):
            raise TypeError(
                f"{where}: measures such as qkv.Mass() are needed; got {type_given(measure)}"
            )
    if not measures:
        raise TypeError(f"{where}: at least one measure is needed; got none")


def _map_tensors(thing: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same frozen dataclass with a function applied to every tensor in it."""
    if is_tensor(thing):
        return function(thing)
    if isinstance(thing, tuple):
        return tuple(_map_tensors(entry, function) for entry in thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        changed = {f.name: _map_tensors(getattr(thing, f.name), function) for f in fields(thing)}
        return replace(thing, **changed)
    return thing
