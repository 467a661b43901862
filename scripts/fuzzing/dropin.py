"""Random arguments of `qkv.scaled_dot_product_attention`, beside torch's function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

import qkv
from qkv.testing import assert_close

from .target import Target

_DTYPES = {str(dtype): dtype for dtype in
           (torch.float64, torch.float32, torch.bfloat16, torch.float16)}  # fmt: skip
_MASKS = ("none", "bool", "float", "float with -inf", "learnt", "upper left", "lower right")
_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError)  # of torch
_LAYOUTS = ("contiguous", "transposed", "strided", "expanded")


@dataclass(frozen=True)
class Case:
    """Shapes, kinds and options of one call, and the seed of its numbers."""

    query: tuple[int, ...]
    key: tuple[int, ...]
    value: tuple[int, ...]
    dtype: str
    layout: str
    mask: str
    mask_shape: tuple[int, ...]
    hidden_rows: bool
    is_causal: bool
    scale: float | None
    enable_gqa: bool
    gradients: bool
    seed: int


class DropIn(Target):
    """Output and gradients are torch's, as exact as the dtype allows. What torch refuses may be
    answered, and what qkv refuses torch must refuse too, or it stands in `docs/drop_in.md`."""

    name = "drop-in"
    about = "random arguments of scaled_dot_product_attention, beside torch's"

    def cases(self) -> st.SearchStrategy[Case]:
        return _cases()

    def check(self, case: Case) -> str:
        try:
            output = _Call(case, _DTYPES[case.dtype]).made(qkv.scaled_dot_product_attention)
        except (ValueError, TypeError) as refusal:
            _assert_torch_refuses(case, str(refusal))
            return str(refusal)
        if output[0].numel() == 0 or case.key[-2] == 0:  # torch's shape is then the query's
            assert not any(tensor.any() for tensor in output), "nothing to see must give 0"
            return ""
        try:
            oracle, baseline = (
                _Call(case, dtype).made(_by_torch) for dtype in (torch.float64, _DTYPES[case.dtype])
            )
        except _REFUSALS as error:
            return f"torch alone refuses: {error}"
        names = ["output", "query", "key", "value", "attn_mask"][: len(output)]
        dtype = _DTYPES[case.dtype]
        largest = max([1.0, *(float(t.abs().amax()) for t in oracle if t.numel())])
        rounding = 64 * torch.finfo(dtype).eps * largest
        for name, one, right, dense in zip(names, output, oracle, baseline, strict=True):
            assert_close(one, right, dense, what=name, rounding=rounding)
        return ""


def _by_torch(*arguments: Any, **options: Any) -> Tensor:
    """Torch's function by its plain formula, which serves every dtype and has every gradient."""
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(*arguments, **options)


def _assert_torch_refuses(case: Case, refusal: str) -> None:
    if case.value[-2:-1] != case.key[-2:-1]:
        return  # torch takes values of fewer keys than there are: docs/drop_in.md
    if 0 in (*case.query, *case.key, *case.value):
        return  # where nothing is computed, torch does not look at all sizes
    try:
        _Call(case, torch.float64).made(_by_torch)
    except _REFUSALS:
        return
    raise AssertionError(f"torch answers what qkv refuses: {refusal}")


class _Call:
    """The arguments of a case, its numbers rounded to the case's dtype, in one dtype."""

    def __init__(self, case: Case, dtype: torch.dtype) -> None:
        self.case = case
        self.draw = torch.Generator().manual_seed(case.seed)
        self.dtype = dtype
        self.vectors = [
            self._laid(self._numbers(*shape)) for shape in (case.query, case.key, case.value)
        ]
        self.mask = self._mask()

    def _numbers(self, *shape: int) -> Tensor:
        numbers = torch.randn(shape, generator=self.draw, dtype=torch.float64)
        return numbers.to(_DTYPES[self.case.dtype]).to(self.dtype)

    def _laid(self, tensor: Tensor) -> Tensor:
        """The same numbers with other strides; expanded: the first entry for all."""
        if self.case.layout == "transposed":
            tensor = tensor.mT.contiguous().mT
        elif self.case.layout == "strided":
            tensor = torch.stack([tensor, tensor], -1)[..., 0]
        elif self.case.layout == "expanded" and tensor.ndim > 2 and tensor.shape[0]:
            tensor = tensor[:1].expand(tensor.shape)
        return tensor.detach().requires_grad_(self.case.gradients)

    def _mask(self) -> Any:
        case = self.case
        queries, keys = case.query[-2], case.key[-2]
        if case.mask == "none":
            return None
        if case.mask == "upper left":
            return causal_upper_left(queries, keys)
        if case.mask == "lower right":
            return causal_lower_right(queries, keys)
        visible = torch.rand(case.mask_shape, generator=self.draw) < 0.6
        if case.hidden_rows and visible.ndim > 1 and visible.shape[-2]:
            visible[..., 0, :] = False
        if case.mask == "bool":
            return visible
        numbers = self._numbers(*case.mask_shape)
        if case.mask == "float with -inf":
            numbers = torch.where(visible, numbers, -torch.inf)
        return numbers.requires_grad_(case.mask == "learnt")

    def made(self, function: Any) -> list[Tensor]:
        """Output, and the gradients of what has some."""
        case = self.case
        options = {"scale": case.scale, "enable_gqa": case.enable_gqa, "is_causal": case.is_causal}
        output = function(*self.vectors, attn_mask=self.mask, **options)
        leaves = [t for t in (*self.vectors, self.mask) if isinstance(t, Tensor)]
        leaves = [leaf for leaf in leaves if leaf.requires_grad]
        if not leaves:
            return [output]
        weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64)
        loss = (output * weights.view(output.shape).to(_DTYPES[case.dtype]).to(self.dtype)).sum()
        found = torch.autograd.grad(loss, leaves, materialize_grads=True, allow_unused=True)
        return [output.detach(), *found]


@st.composite
def _cases(draw: Any) -> Case:
    heads, key_heads = draw(st.sampled_from([(2, 2), (4, 2), (1, 1), (6, 3), (3, 1), (1, 3)]))
    batch = draw(st.sampled_from([None, (), (1,), (2,), (2, 3), (0,)]))
    queries, keys, width = (draw(st.integers(0, 9)) for _ in range(3))
    value_width = draw(st.just(width) | st.integers(0, 5))
    lead = [] if batch is None else [*batch, heads]
    key_lead = [] if batch is None else [*batch, key_heads]
    if key_lead[:-1] and draw(st.integers(0, 3)) == 3:
        key_lead[0] = 1  # keys that serve a whole batch
    shapes = [[*lead, queries, width], [*key_lead, keys, width], [*key_lead, keys, value_width]]
    if draw(st.integers(0, 9)) == 9:  # a size that may not fit
        of, odd = draw(st.integers(0, 2)), draw(st.integers(0, 4))
        shapes[of][draw(st.integers(0, len(shapes[of]) - 1))] = odd
    query, key, value = map(tuple, shapes)
    matrix = (*query[:-2], query[-2], key[-2])
    mask_shape = [draw(st.sampled_from([size, 1])) for size in matrix]
    if batch is not None and draw(st.booleans()):
        mask_shape = mask_shape[draw(st.integers(0, len(mask_shape) - 2)) :]
    return Case(
        query,
        key,
        value,
        draw(st.sampled_from([*_DTYPES])),
        draw(st.sampled_from(_LAYOUTS)),
        draw(st.sampled_from(_MASKS)),
        tuple(mask_shape),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([None, 0.3, 1.0, 2.0])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.integers(0, 2**16)),
    )
