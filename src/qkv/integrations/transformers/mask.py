"""The mask that stands where transformers hands on a tensor: a description, with no cell of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
from torch.utils._pytree import tree_leaves
from transformers import masking_utils as theirs

from ...blocks.cells import Cells
from ...blocks.layout import Layout
from ...ground.once import once
from ...ground.tensors import is_traced
from ...masks.base import Mask
from ...masks.custom import CustomMask
from ...masks.runs import any_of, in_strips
from .rules import MaskFunction, Place, UnknownRuleError, both, mask_of, padding

_AS_TENSOR = (torch.Tensor.add, torch.Tensor.__radd__, torch.add, F.scaled_dot_product_attention)


@dataclass(frozen=True, eq=False, repr=False)
class LazyMask:
    """What transformers says of a mask, `[B, 1, Lq, Lk]`, before it makes one.

    It has the shape of the tensor that stands here with `eager`, and may be sliced, moved and
    handed on like it; `mask` is what it means to qkv. Where a model adds it to something, as a few
    do, it becomes that tensor, and a warning says so once. Whatever else is asked of it is a
    TypeError.
    """

    place: Place
    function: MaskFunction
    real: Tensor | None  # bool `[B, keys]`, which may be longer than the mask
    dtype: torch.dtype  # of what stands here with eager
    one_by_one: bool = False  # whether the function takes single indices alone
    model: str = "the model"

    @property
    def shape(self) -> torch.Size:
        place = self.place
        return torch.Size((place.batch, 1, place.queries, place.keys))

    ndim = 4

    @property
    def device(self) -> torch.device:
        return self.place.device

    @property
    def requires_grad(self) -> bool:
        return False

    def size(self, dim: int | None = None) -> Any:
        """As of a tensor."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """As of a tensor."""
        return 4

    def to(self, *args: Any, **kwargs: Any) -> LazyMask:
        """The same mask on another device or for another dtype."""
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **kwargs)  # pyright: ignore
        if dtype is not None and not dtype.is_floating_point:
            self._refuse(f"a tensor of {dtype}")
        place = replace(self.place, device=device or self.device)
        real = None if self.real is None else self.real.to(place.device)
        return replace(self, place=place, real=real, dtype=dtype or self.dtype)

    @once
    def mask(self) -> Mask | None:
        """The same as a mask of qkv for queries that stand at `offset`; None where every query sees
        every key."""
        if is_traced() and self.function is not theirs.causal_mask_function:
            return _Asked(self._visible)  # the compiler does not say what a function closes over
        try:
            known = mask_of(self.function, self.place)
        except UnknownRuleError:
            return self._looked_at()
        return both(known, None if self.real is None else padding(self.place, self.real))

    @property
    def offset(self) -> int | Tensor:
        """The position of the first query among the keys."""
        return self.place.offset

    def fitting(self, queries: int, keys: int) -> LazyMask:
        """The mask for so many queries and keys, of which there may be fewer than it was made for.

        Raises:
            ValueError: it is a mask for other queries, or for fewer keys.
        """
        place = self.place
        if (place.queries, place.keys) == (queries, keys):
            return self
        if place.queries != queries or place.keys < keys:
            raise ValueError(
                f"qkv: {self.model} attends with {queries} queries and {keys} keys, and hands over "
                f"a mask for {place.queries} queries and {place.keys} keys"
            )
        return self._part((0, queries), (0, keys))

    def __getitem__(self, index: Any) -> LazyMask | Tensor:
        """A part of the queries and keys, as lazy as the whole; any other part is a tensor."""
        index = index if isinstance(index, tuple) else (index,)
        if Ellipsis in index:
            at = index.index(Ellipsis)
            index = (*index[:at], *[slice(None)] * (5 - len(index)), *index[at + 1 :])
        whole, (rows, columns) = index[:2], (*index[2:], slice(None), slice(None))[:2]
        if any(part != slice(None) for part in whole) or len(index) > 4:
            return self._tensor[index]
        row, column = (
            _span(part, n) for part, n in zip((rows, columns), self.shape[2:], strict=True)
        )
        if row is None or column is None:
            return self._tensor[index]
        return self._part(row, column)

    def _part(self, rows: tuple[int, int], columns: tuple[int, int]) -> LazyMask:
        place = self.place
        if (rows, columns) == ((0, place.queries), (0, place.keys)):
            return self
        place = replace(
            place,
            first_query=place.first_query + rows[0],
            queries=rows[1] - rows[0],
            first_key=place.first_key + columns[0],
            keys=columns[1] - columns[0],
        )
        return replace(self, place=place)

    def __add__(self, other: Any) -> Tensor:
        return self._tensor + other

    __radd__ = __add__

    def __eq__(self, other: object) -> Any:
        return False if other is None else self._beside(other, "==") == other

    def __ne__(self, other: object) -> Any:
        return True if other is None else self._beside(other, "!=") != other

    __hash__ = object.__hash__

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _AS_TENSOR:
            lazy = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, cls))
            lazy._refuse(f"{getattr(func, '__name__', func)}()")

        def tensor(thing: Any) -> Any:
            return thing._tensor if isinstance(thing, cls) else thing

        named = {name: tensor(thing) for name, thing in (kwargs or {}).items()}
        return func(*(tensor(thing) for thing in args), **named)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") and hasattr(Tensor, name):
            self._refuse(f".{name}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __bool__(self) -> bool:
        return self._refuse("whether it is true")

    def __iter__(self) -> Any:
        return self._refuse("one entry after the other")

    def __len__(self) -> int:
        return self._refuse("its length")

    def __repr__(self) -> str:
        sizes = " x ".join(map(str, self.shape))
        shown = "everything" if self.mask is None else self.mask.label
        place = f", queries from {self.offset}" if self.offset else ""
        return f"LazyMask({sizes}: {shown}{place})"

    def _beside(self, other: object, sign: str) -> Tensor:
        """The tensor that is compared with a number."""
        if not isinstance(other, (int, float)):
            self._refuse(f"{sign} with {type(other).__name__}")
        return self._tensor

    def _refuse(self, wanted: str) -> NoReturn:
        raise TypeError(
            f"qkv: {self.model} asks the mask for {wanted}, as if it were a tensor; under "
            'attn_implementation="qkv" it is a description that only the attention function '
            'reads. Load this model with "eager" or "sdpa"'
        )

    @once
    def _tensor(self) -> Tensor:
        """What stands here with eager: 0 where a query may look, else the lowest number."""
        if self.model not in _WARNED:
            _WARNED.add(self.model)
            sizes = " x ".join(map(str, self.shape))
            warnings.warn(
                f"qkv: {self.model} computes with the mask before it attends, so the mask is made "
                f"as a tensor of {sizes} numbers",
                stacklevel=3,
            )
        lowest = torch.finfo(self.dtype).min
        seen = self._strip(0, self.place.queries)
        return torch.where(seen, torch.zeros((), dtype=self.dtype, device=self.device), lowest)

    def _strip(self, start: int, stop: int) -> Tensor:
        """Some rows of the mask as transformers makes it, bool `[B, 1, stop - start, Lk]`."""
        place = self.place
        made = theirs.sdpa_mask(
            batch_size=place.batch,
            q_length=stop - start,
            kv_length=place.keys,
            q_offset=place.first_query + start,  # pyright: ignore[reportArgumentType]
            kv_offset=place.first_key,
            mask_function=self.function,
            attention_mask=self.real,
            allow_is_causal_skip=False,
            use_vmap=self.one_by_one,
            device=place.device,
        )
        assert made is not None
        return made

    def _looked_at(self) -> Mask:
        """A mask of which nothing is known but what its cells say."""
        place = self.place
        found = in_strips(self._strip, place.queries, place.batch * place.keys)
        return _Asked(self._visible) if found is None else any_of(found)

    def _visible(self, cells: Cells) -> Tensor:
        """The mask in some cells."""
        place, function = self.place, self.function
        if self.real is not None:
            function = theirs.and_masks(function, theirs.padding_mask_function(self.real))
        batch = cells.batch if place.batch > 1 else torch.zeros_like(cells.batch)
        row, col = cells.row + place.first_query, cells.col + place.first_key
        head = torch.zeros_like(cells.head)
        if not self.one_by_one:
            return function(batch, head, row, col)
        for dims in ((None, None, None, 0), (None, None, 0, None), (0, None, None, None)):
            function = torch.vmap(function, dims)
        with TransformGetItemToIndex():
            seen = function(batch.flatten(), head.flatten()[0], row.flatten(), col.flatten())
        return seen.unsqueeze(1)


class _Asked(CustomMask):
    """A callable whose tensors want no gradient, so that they need not be looked for."""

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> CustomMask:
        return self


_WARNED: set[str] = set()


def _span(part: Any, size: int) -> tuple[int, int] | None:
    """Start and stop of a slice without steps."""
    if not isinstance(part, slice):
        return None
    start, stop, step = part.indices(size)
    return (start, max(start, stop)) if step == 1 else None
