"""Random mods and block masks: `qkv.flex_attention` beside torch's own function, run eagerly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
from torch.nn.attention import flex_attention as theirs

import qkv
from qkv.testing import assert_close

from .target import Target

_SHIFT = 16  # tables of distances hold them up to this one
_DTYPES = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True)
class Case:
    """Sizes, a mask mod and a score mod as Python, how blocks are cut, options, and numbers."""

    batch: int
    heads: tuple[int, int]
    queries: int
    keys: int
    mask: str | None
    score: str | None
    block: tuple[int, int]
    listed: tuple[bool, ...] | None  # which blocks a hand-made mask lists, over and over
    scale: float | None
    dtype: str
    memory: int | None
    seed: int

    def tables(self) -> dict[str, Tensor]:
        """What mods capture: integers, and numbers that get gradients."""
        draw = torch.Generator().manual_seed(self.seed)
        longest = max(self.queries, self.keys, 1)
        dtype = _DTYPES[self.dtype]

        def numbers(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype)

        return {
            "document": torch.randint(0, 3, (longest,), generator=draw).sort().values,
            "group": torch.randint(0, 3, (self.batch, longest), generator=draw),
            "length": torch.randint(0, longest + 1, (self.batch,), generator=draw),
            "seen": torch.rand(self.heads[0], longest, longest, generator=draw) < 0.5,
            "slope": numbers(self.heads[0]),
            "distance": numbers(self.heads[0], 2 * _SHIFT + 1),
            "pair": numbers(self.heads[0], longest, longest),
            "place": numbers(self.batch, longest),
        }


def _expressions(leaves: list[str], forms: list[str]) -> st.SearchStrategy[str]:
    """Expressions in which forms stand in forms."""

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        def fill(form: str) -> st.SearchStrategy[str]:
            parts = st.tuples(*[inner] * form.count("{}"))
            return parts.map(lambda found: form.format(*found))

        return st.sampled_from(forms).flatmap(fill)

    return st.recursive(st.sampled_from(leaves), grown, max_leaves=5)


_INTEGERS = _expressions(
    ["i", "j", "j - i", "i - j", "h", "b", "0", "1", "2", "5", "length[b]", "document[j]",
     "document[i]", "group[b, j]", "group[b][i]"],
    ["({} + {})", "({} - {})", "({} * 2)", "({} // 3)", "({} % 3)", "(-{})", "abs({})",
     "torch.where(i < j, {}, {})"],
)  # fmt: skip
_COMPARED = st.builds(
    "({} {} {})".format, _INTEGERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), _INTEGERS
)
_KNOWN = ["(i >= j)", "(abs(i - j) <= 2)", "(j < 4)", "(j < length[b])", "seen[h, i, j]",
          "(document[i] == document[j])", "(group[b, i] == group[b, j])", "(i // 3 == j // 3)",
          "(j >= 0)", "(j < 0)"]  # fmt: skip


def _conditions() -> st.SearchStrategy[str]:
    some = st.sampled_from(_KNOWN) | _COMPARED.map(lambda text: f"({text} & (j >= 0))")

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("({} {} {})".format, inner, st.sampled_from("&|^"), inner),
            inner.map("(~{})".format),
            st.builds("torch.where({}, {}, {})".format, inner, inner, inner),
        )

    return st.recursive(some, grown, max_leaves=4)


def _scores() -> st.SearchStrategy[str]:
    added = st.sampled_from(
        ["slope[h] * (j - i)", "distance[h, (i - j).clamp(-16, 16) + 16]", "pair[h, i, j]",
         "place[b, j]", "place[b, i]", "slope[h]", "0.5", "(i - j)", "h", "slope[h].exp()",
         "torch.sin(place[b, j] * i)"]
    )  # fmt: skip

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("({} {} {})".format, inner, st.sampled_from("+-"), added),
            st.builds("({} * {})".format, inner, st.sampled_from(["2", "0.5", "-1", "slope[h]"])),
            inner.map("(2.0 * torch.tanh({} / 2.0))".format),
            inner.map("torch.sin({})".format),
            st.builds("torch.where({}, {}, {})".format, _conditions(), inner,
                      inner | st.just("-torch.inf")),
        )  # fmt: skip

    return st.recursive(st.just("s"), grown, max_leaves=3)


class Flex(Target):
    """Output, logsumexp and all gradients are those of the formula, in which each cell is what the
    mods say; and where all blocks are listed, which torch's eager function does not look at, output
    and logsumexp are that function's. It has no gradients on processors.

    A mod that torch cannot map over cells is no case, nor is one whose scores are NaN or +inf.
    """

    name = "flex"
    about = "random mods and block masks, beside torch's FlexAttention"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        theirs._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True

    def cases(self) -> st.SearchStrategy[Case]:
        block = st.sampled_from([1, 2, 3, 4, 8, 128])
        return st.builds(
            Case,
            batch=st.integers(1, 2),
            heads=st.sampled_from([(2, 2), (1, 1), (4, 2), (3, 1)]),
            queries=st.integers(1, 11),
            keys=st.integers(1, 11),
            mask=st.none() | _conditions(),
            score=st.none() | _scores(),
            block=st.tuples(block, block),
            listed=st.none() | st.lists(st.booleans(), min_size=1, max_size=6).map(tuple),
            scale=st.sampled_from([None, 0.3, 1.0]),
            dtype=st.sampled_from([*_DTYPES]),
            memory=st.sampled_from([None, 10_000]),
            seed=st.integers(0, 2**16),
        )

    def check(self, case: Case) -> str:
        exact, rounded = _Side(case, torch.float64), _Side(case, _DTYPES[case.dtype])
        try:
            oracle, baseline = exact.formula(), rounded.formula()
        except (RuntimeError, TypeError, IndexError, ValueError) as error:
            return f"no case: torch cannot map the mod: {type(error).__name__}: {error}"
        if any(bool((one.isnan() | one.isposinf()).any()) for one in oracle):
            return "no case: the formula gives NaN or +inf"
        names = ["output", "lse", *(f"gradient of {name}" for name in exact.leaves)]
        if case.listed is None:
            for name, one, right in zip(names, exact.eager(), oracle, strict=False):
                assert_close(one, right, what=f"{name} of torch")
        sizes = [one[one.isfinite()].abs() for one in oracle]
        largest = max([1.0, *(float(some.amax()) for some in sizes if some.numel())])
        rounding = 64 * torch.finfo(_DTYPES[case.dtype]).eps * largest
        for name, one, right, dense in zip(
            names, rounded.ours(case.memory), oracle, baseline, strict=True
        ):
            assert_close(one, right, dense, what=name, rounding=rounding)
        return ""


@dataclass
class _Side:
    """A case in one dtype: its tensors, and what either function makes of them."""

    case: Case
    dtype: torch.dtype
    leaves: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        case = self.case
        draw = torch.Generator().manual_seed(case.seed + 1)
        dtype = _DTYPES[case.dtype]

        def numbers(heads: int, length: int, width: int) -> Tensor:
            shape = (case.batch, heads, length, width)
            return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)

        vectors = {
            "query": numbers(case.heads[0], case.queries, 4),
            "key": numbers(case.heads[1], case.keys, 4),
            "value": numbers(case.heads[1], case.keys, 3),
        }
        tables = case.tables()
        whole = vectors | {n: t for n, t in tables.items() if t.is_floating_point()}
        self.leaves = {n: t.detach().to(self.dtype).requires_grad_() for n, t in whole.items()}
        self.known = {**tables, **self.leaves, "torch": torch}

    @property
    def vectors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.leaves["query"], self.leaves["key"], self.leaves["value"]

    @property
    def score(self) -> Callable[..., Tensor] | None:
        """The score mod."""
        return self._mod("s, b, h, i, j", self.case.score)

    @property
    def mask(self) -> Callable[..., Tensor] | None:
        """The mask mod."""
        return self._mod("b, h, i, j", self.case.mask)

    def _mod(self, arguments: str, text: str | None) -> Any:
        return None if text is None else eval(f"lambda {arguments}: {text}", self.known)

    def blocks(self, create: Callable[..., Any]) -> Any:
        """The mask of blocks, made by torch's function or ours; or by hand, of the listed ones."""
        case, mod = self.case, self.mask
        if case.listed is not None:
            shown = self._shown_blocks()[None, None]
            order = torch.argsort(shown.int(), dim=-1, descending=True, stable=True).int()
            return theirs.BlockMask.from_kv_blocks(
                shown.sum(-1).int(), order, BLOCK_SIZE=case.block, mask_mod=mod,
                seq_lengths=(case.queries, case.keys),
            )  # fmt: skip
        if mod is None:
            return None
        sizes = (case.batch, case.heads[0], case.queries, case.keys)
        return create(mod, *sizes, device="cpu", BLOCK_SIZE=case.block)

    def formula(self) -> list[Tensor]:
        """Output, logsumexp and gradients of the dense formula, with torch's way to map a mod."""
        query, key, value = self.vectors
        group = query.shape[1] // key.shape[1]
        key, value = (part.repeat_interleave(group, 1) for part in (key, value))
        scale = query.shape[-1] ** -0.5 if self.case.scale is None else self.case.scale
        scores = query @ key.mT * scale
        places = [torch.arange(size) for size in scores.shape]
        visible = self._listed().expand(scores.shape)
        with TransformGetItemToIndex():
            if self.score is not None:
                scores = theirs._vmap_for_bhqkv(self.score, prefix=(0,))(scores, *places)
            if self.mask is not None:
                visible = visible & theirs._vmap_for_bhqkv(self.mask, prefix=())(*places)
        visible = visible & (scores.detach() != -torch.inf)
        some = visible.any(-1)
        shown = torch.where(visible, scores, -torch.inf)
        lse = torch.where(some, torch.where(some[..., None], shown, 0).logsumexp(-1), -torch.inf)
        weights = torch.where(visible, (scores - torch.where(some, lse, 0)[..., None]).exp(), 0)
        return self._with_gradients(weights @ value, lse)

    def _listed(self) -> Tensor:
        """Which cells `[Lq, Lk]` are in blocks that are listed."""
        case = self.case
        whole = torch.ones(case.queries, case.keys, dtype=torch.bool)
        if case.listed is None:
            return whole
        cells = self._shown_blocks()
        for dim, size in enumerate(case.block):
            cells = cells.repeat_interleave(size, dim)
        return cells[: case.queries, : case.keys]

    def _shown_blocks(self) -> Tensor:
        assert self.case.listed is not None
        sizes = zip((self.case.queries, self.case.keys), self.case.block, strict=True)
        rows, columns = (-(-length // size) for length, size in sizes)
        times = -(-rows * columns // len(self.case.listed))
        return torch.tensor(self.case.listed).repeat(times)[: rows * columns].view(rows, columns)

    def eager(self) -> tuple[Tensor, Tensor]:
        """Output and logsumexp of torch's function."""
        vectors = (tensor.detach() for tensor in self.vectors)
        output, aux = theirs.flex_attention(
            *vectors,
            score_mod=self.score,
            block_mask=self.blocks(theirs.create_block_mask),
            scale=self.case.scale,
            enable_gqa=True,
            return_aux=theirs.AuxRequest(lse=True),
        )
        return output, aux.lse

    def ours(self, memory: int | None) -> list[Tensor]:
        """Output, logsumexp and gradients of qkv; with a budget of `memory` by `flex_matrix`."""
        blocks = self.blocks(qkv.create_block_mask)
        options = {"scale": self.case.scale, "enable_gqa": True}
        query, key, value = self.vectors
        if memory is None:
            aux = theirs.AuxRequest(lse=True)
            output, found = qkv.flex_attention(
                query, key, value, self.score, blocks, return_aux=aux, **options
            )
            return self._with_gradients(output, found.lse)
        matrix = qkv.flex_matrix(query, key, self.score, blocks, memory=memory, **options)
        return self._with_gradients(*matrix.measure(qkv.Product(value), qkv.LogSumExp()))

    def _with_gradients(self, output: Tensor, lse: Tensor) -> list[Tensor]:
        weights = torch.linspace(-1, 1, output.numel(), dtype=self.dtype).view(output.shape)
        finite = lse.isfinite()
        loss = (output * weights).sum() + (torch.where(finite, lse, 0) * weights[..., 0]).sum()
        leaves = [*self.leaves.values()]
        found = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        return [output.detach(), lse.detach(), *found]
