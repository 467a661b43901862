"""The attention matrix as an object. Making one computes nothing."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..ground.jit import with_int_sizes
from ..ground.tensors import FLOATS
from ..measures.base import Measure
from ..measures.cells import Columns, Links, Top
from ..measures.diagonals import Diagonals
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
from .tensors import map_tensors, with_known_captures

# Dynamo says `operator.matmul` where it exports.
_MATMUL = (torch.matmul, torch.Tensor.matmul, operator.matmul)


class _MatrixProduct:
    """Lets `torch.matmul(A, value)` mean `A @ value`."""

    def __matmul__(self, other: Tensor) -> Tensor:
        raise NotImplementedError

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _MATMUL and len(args) == 2 and not kwargs:
            left, right = args
            if isinstance(left, cls):
                return left.__matmul__(right)
            if func is torch.Tensor.matmul and torch.compiler.is_compiling():
                # Dynamo turns `A @ value` into this call and swaps the operands on the way.
                return right.__matmul__(left)
        raise TypeError(
            f"{getattr(func, '__name__', func)}: an attention matrix is no tensor; multiply by it "
            "from the left (A @ value, A.mT @ x) or take A.dense()"
        )


@dataclass(frozen=True, eq=False, repr=False)
class AttentionMatrix(_MatrixProduct, Description):
    """The weights with which queries look at keys, `[B..., H, Lq, Lk]`. It is never built.

    `qkv.attention` makes it and checks its arguments. Multiply by it (`A @ value`, `A.mT @ x`),
    look into it (`A[..., rows, cols]`, `A.top(8)`, `A.entropy()`, ...) and differentiate through
    all of it. An operation takes memory linear in the lengths, or its docstring says what it takes.
    """

    @property
    def mT(self) -> TransposedMatrix:  # noqa: N802
        """The transposed matrix `[B..., H, Lk, Lq]`, as lazy as this one. `A.mT @ x` is what each
        key collects."""
        return TransposedMatrix(self)

    def __matmul__(self, other: Tensor) -> Tensor:
        """Weighted sums of the values: `[B..., Hk or H or 1, Lk, Dv]` to `[B..., H, Lq, Dv]`.

        Raises:
            TypeError: the value is no floating tensor.
            ValueError: the value has another dtype or device, not one row per key, or leading
                dimensions that do not fit.
            UnsupportedError: the implementation named by `impl` cannot serve the request.
        """
        return self._found(lambda: Product(other).ready(partial(operand, self)))

    def measure(self, *measures: Measure) -> Measured:
        """Computes several measures in one sweep over the matrix.

        Args:
            measures: e.g. `Product(value), Mass(), Entropy(), Top(8)`.

        Returns:
            Their results: by name (`.mass`, `.top`), and by position in the order given.

        Raises:
            TypeError: no measure is given, or something that is no measure.
            ValueError: a measure does not fit the matrix.
            UnsupportedError: a measure makes no sense for this normalizer.
        """
        with dispatch.telling(self):
            measures = self._ready("measure", measures)
        names = tuple(measure.name for measure in measures)
        return Measured(names, tuple(dispatch.run(self, *measures)))

    def top(self, k: int) -> Links:
        """The `k` strongest links of each query: `weights, indices`, `[B..., H, Lq, k]`. See
        `qkv.Top`.

        Raises:
            ValueError: `k` is no positive integer, or more than the number of keys.
        """
        return self._found(lambda: Top(k))

    def entropy(self) -> Tensor:
        """The entropy of each query's weights in nats, `[B..., H, Lq]`. See `qkv.Entropy`.

        Raises:
            UnsupportedError: weights may be negative.
        """
        return dispatch.run(self, Entropy())[0]

    def distance(self) -> Tensor:
        """The mean distance of the keys that each query looks at, by its weights, in positions,
        `[B..., H, Lq]`. See `qkv.Distance`.

        Raises:
            UnsupportedError: weights may be negative.
            ValueError: Lq != Lk and no `query_offset` was given.
        """
        return dispatch.run(self, Distance())[0]

    def diagonals(self, offsets: Sequence[int]) -> Tensor:
        """The weights of the keys so far ahead of each query, `[B..., H, Lq, len(offsets)]`. See
        `qkv.Diagonals`.

        Raises:
            TypeError: `offsets` are not integers.
            ValueError: there are none; Lq != Lk and no `query_offset` was given.
        """
        return self._found(lambda: Diagonals(offsets))

    def support(self) -> Tensor:
        """The number of keys with weight > 0, per query, `[B..., H, Lq]`, int64. See `qkv.Support`.

        Raises:
            UnsupportedError: weights may be negative.
        """
        return dispatch.run(self, Support())[0]

    def pool(self, rows: int, cols: int, how: str = "max") -> Tensor:
        """A coarse map of the whole matrix, `[B..., H, rows, cols]`. `how` is "max", "mean" or
        "sum". See `qkv.Pool`.

        Raises:
            ValueError: a size is no positive integer or larger than the matrix, or `how` is
                unknown.
        """
        return self._found(lambda: Pool(rows, cols, how))

    def mass(self) -> Tensor:
        """The attention that each key receives: column sums, `[B..., H, Lk]`. See `qkv.Mass`.

        Raises:
            UnsupportedError: weights may be negative.
        """
        return dispatch.run(self, Mass())[0]

    def logsumexp(self) -> Tensor:
        """The logarithm of the sum of exponentials of each query's scores, `[B..., H, Lq]`.

        Raises:
            UnsupportedError: the normalizer is no softmax.
        """
        return dispatch.run(self, LogSumExp())[0]

    @with_int_sizes
    def __getitem__(self, index: Any) -> Any:
        """The weights of a region as a tensor, `A[..., rows, cols]`; or, if only leading dimensions
        are indexed, a matrix that is as lazy as this one, `A[batch, head]`.

        Each index is an integer, a slice, a list, an index tensor or a bool tensor of the length of
        its dimension. Several index tensors mean their outer product. Only the rows of the chosen
        cells are computed. A matrix of chosen heads takes values with one head for each of them, or
        one for all.

        Raises:
            IndexError: an index is out of range, or there are too many.
            TypeError: an index is none of the above.
            UnsupportedError: an index is a bool tensor while a program is traced.
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
        """The whole matrix as a tensor, `[B..., H, Lq, Lk]`, which takes memory of that size.

        Raises:
            ValueError: it would take more than `max_bytes` bytes.
        """
        size = self.dtype.itemsize
        for extent in self.shape:
            size *= extent
        known = isinstance(size, int)  # a program that is made may not know its sizes
        if known and size > max_bytes:
            raise ValueError(
                f"dense: the whole matrix {list(self.shape)} would take {size:,} bytes, "
                f"max_bytes is {max_bytes:,}; take a region A[..., rows, cols] or a statistic"
            )
        return self[..., :, :]

    @with_int_sizes
    def scores(
        self, rows: Any = slice(None), cols: Any = slice(None), biased: bool = False
    ) -> Tensor:
        """The scores of a region, `[B..., H, rows, cols]`, as if nothing were masked; in float32
        for half types.

        Args:
            rows, cols: integers, slices or index tensors.
            biased: whether the biases are applied.

        Raises:
            IndexError, TypeError: as for `A[..., rows, cols]`.
        """
        return Region.of(rows, cols, self.shape, self.device).scores(self, biased)

    @with_int_sizes
    def explain(
        self, row: int, value: Tensor | None = None, at: tuple[int, ...] | None = None
    ) -> Explanation:
        """The three stages for one query with real numbers: see `qkv.Explanation`.

        Args:
            row: the index of the query.
            value: `[B..., Hk or H or 1, Lk, Dv]`, to see the weighted values as well.
            at: the index of an entry of the leading dimensions; default: the first entry.

        Raises:
            IndexError: there is no such row or entry.
            TypeError: `row` or an index in `at` is no integer, or `value` is no floating tensor.
            ValueError: `at` has not one index per leading dimension, or `value` does not fit.
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
        """Draws a map of the weights to a `.png`, `.svg` or `.pdf` file. Needs matplotlib.

        A matrix of more than 150 queries or 80 keys is never built. It is drawn as a coarse map
        (`A.pool`) of the largest weight in each part; a line below the map says so. The largest
        weight has the strongest colour, and the bar beside the map shows its value.

        Args:
            path: the file; it appears when it is complete.
            rows, columns: a label for each query, for each key; default: their positions.
            at: the index of an entry of the leading dimensions; default: the first entry.
            title: a line above the map.

        Raises:
            ValueError: there is not one label for each query or key, a weight is negative or not
                finite, `at` has not one index per leading dimension, or the file has another
                suffix.
            TypeError: `at` is no tuple of integers.
            IndexError: there is no such entry.
            ImportError: matplotlib is missing.
            OSError: the file cannot be written.
        """
        draw(self, path, rows, columns, at, title)

    def dropout(self, p: float, seed: int | Tensor | None = None) -> AttentionMatrix:
        """The same matrix with dropout: weights are dropped with probability `p`, and the others
        divided by `1 - p`.

        Whether a weight is dropped is a pure function of (seed, batch, head, row, column), the same
        in every implementation, forward and backward.

        Args:
            p: the probability, in [0, 1).
            seed: an integer of 64 bits, signed or not; default: drawn from torch's generator.

        Raises:
            ValueError: `p` is outside [0, 1), or `seed` is no single 64-bit integer.
        """
        with dispatch.telling(self):
            dropped = Dropout.of(p, seed, self.device)
        return replace(self, dropped=dropped)

    def plan(self, operation: str | Measure | Sequence[Measure] = "matmul") -> dispatch.Plan:
        """Which implementation will run an operation and why, with its memory and arithmetic.

        Args:
            operation: "matmul", "mT", "dense", "top", "entropy", "mass", "distance", "diagonals",
                "support", "pool" or "logsumexp"; or one or several measures, for a sweep that
                computes them together. The operand of "matmul" and "mT" is assumed to be as wide
                as query and key.

        Raises:
            ValueError: there is no such operation, or it does not fit the matrix.
            TypeError: something else is given, or no measure.
            UnsupportedError: the operation makes no sense for this normalizer, or the
                implementation named by `impl` cannot serve it.
        """
        if not isinstance(operation, str):
            single = isinstance(operation, (Measure, type))
            if not single and not isinstance(operation, Sequence):
                raise TypeError(
                    "plan: operation must be the name of one, a measure or several of them; "
                    f"got {type_given(operation)}"
                )
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
            "diagonals": lambda: Diagonals([0]),
            "support": Support,
            "pool": lambda: Pool(1, 1),
            "logsumexp": LogSumExp,
        }
        if operation not in stand_in:
            known = ", ".join(stand_in)
            raise ValueError(f"plan: operation must be one of {known}; got {operation!r}")
        return dispatch.plan(self, operation, (stand_in[operation](),))

    def to(self, *args: Any, **kwargs: Any) -> AttentionMatrix:
        """The same matrix with its tensors on another device, and its floating tensors in another
        dtype, also those that callables capture. Takes the arguments of `torch.nn.Module.to` but
        `memory_format`.

        Raises:
            UnsupportedError: as for `detach`.
            TypeError: the dtype is not float16, bfloat16, float32 or float64.
            ValueError: a memory format is given, which says nothing of a matrix; or a parameter of
                a stage, rounded to the dtype, breaks the stage's rule.
        """
        device, dtype, non_blocking, form = torch._C._nn._parse_to(*args, **kwargs)  # pyright: ignore
        if dtype is not None and dtype not in FLOATS:
            raise TypeError(f"to: dtype must be float16, bfloat16, float32 or float64; got {dtype}")
        if form is not None:
            raise ValueError(f"to: memory_format must be left out for a matrix; got {form}")

        def moved(tensor: Tensor) -> Tensor:
            cast = dtype if tensor.is_floating_point() else None
            return tensor.to(device, cast, non_blocking)

        known = with_known_captures(self, "to")
        try:
            return map_tensors(known, moved)
        except ValueError as error:
            raise ValueError(
                f"to: a parameter of a stage breaks its rule once it is rounded to {dtype}: {error}"
            ) from error

    def detach(self) -> AttentionMatrix:
        """The same matrix without gradients, also of what callables capture.

        Raises:
            UnsupportedError: a callable uses a captured tensor that requires a gradient in a way
                that cannot be traced, or a program is being compiled and there is a callable.
        """
        return map_tensors(with_known_captures(self, "detach"), Tensor.detach)

    def __repr__(self) -> str:
        parts = [f"shape={list(self.shape)}", f"score={self.score.name}"]
        if self.bias:
            parts.append(f"bias={'+'.join(bias.name for bias in self.bias)}")
        if self.mask is not None:
            parts.append(f"mask={self.mask.label}")
        parts.append(f"normalizer={self.normalizer.name}")
        if self.dropped is not None:
            parts.append(f"dropout={self.dropped.probability}")
        if self.shards is not None:
            parts.append(f"rank={self.shards.rank} of {self.shards.count}")
        parts.append(f"dtype={self.dtype}, device={self.device}, impl={self.impl}")
        return f"AttentionMatrix({', '.join(parts)})"

    def _repr_html_(self) -> str:
        return html_of(self)

    def _found(self, make: Callable[[], Measure]) -> Any:
        """The result of a measure, of whose making the other ranks of a group hear if it fails."""
        with dispatch.telling(self):
            measure = make()
        return dispatch.run(self, measure)[0]

    def _ready(self, where: str, measures: tuple[Any, ...]) -> tuple[Measure, ...]:
        """Measures, after a check, with what the matrix is multiplied by as it takes it."""
        _check_measures(where, measures)
        take = partial(operand, self)
        return tuple(measure.ready(take) for measure in measures)


@dataclass(frozen=True, eq=False)
class TransposedMatrix(_MatrixProduct):
    """The transposed attention matrix, `[B..., H, Lk, Lq]`. `A.mT` makes it."""

    matrix: AttentionMatrix

    @property
    def shape(self) -> torch.Size:
        """`[B..., H, Lk, Lq]`."""
        *lead, rows, cols = self.matrix.shape
        return torch.Size((*lead, cols, rows))

    @property
    def mT(self) -> AttentionMatrix:  # noqa: N802
        """The attention matrix, transposed back."""
        return self.matrix

    def __matmul__(self, other: Tensor) -> Tensor:
        """What each key collects: `[B..., Hk or H or 1, Lq, Dx]` to `[B..., H, Lk, Dx]`.

        Raises:
            TypeError: `x` is no floating tensor.
            ValueError: `x` has another dtype or device, not one row per query, or leading
                dimensions that do not fit.
            UnsupportedError: the implementation named by `impl` cannot serve the request.
        """
        matrix = self.matrix
        return matrix._found(lambda: Collected(other).ready(partial(operand, matrix)))


class Measured(tuple):
    """The results of `A.measure`: a tuple in the order of the measures, and attributes by name."""

    names: tuple[str, ...]

    def __new__(cls, names: tuple[str, ...], results: tuple[Any, ...]) -> Measured:
        """Results beside the names of the measures that they come from."""
        made = super().__new__(cls, results)
        made.names = names
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.names, tuple(self))

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
