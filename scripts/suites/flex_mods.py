"""FlexAttention: the mods of torch's own tests and documentation, and masks of the kind that
attention-gym collects, beside torch's eager `flex_attention`.

torch refuses a backward pass on processors, so gradients are compared with those that autograd
gives of its formula (`torch._higher_order_ops.flex_attention.math_attention`). Of a lookup of a
whole row that has none either; there the formula is that of our tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops.flex_attention import math_attention
from torch.nn.attention import flex_attention as theirs

import qkv
from qkv.testing import assert_close

from .case import Case, gradients

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "integrations"))

import flex_cases as tested

NAME = "torch, FlexAttention"
PACKAGES = ("torch",)
ASKED_BY = "qkv"

Mod = Callable[..., Tensor]
Formula = Callable[..., Tensor]

SIDE = 4  # of a grid of places
PLACES = SIDE * SIDE
LOOKUPS_OF_ROWS = ("chained lookups", "learnt places")
DTYPES = (torch.float64, torch.float32)
DOCUMENTS = torch.tensor([0] * 3 + [1] * 6 + [2] * 7)
STARTS = torch.tensor([0, 3, 9])
PICTURES = torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3, 3, 4])  # seen by each word


def cases() -> Iterator[Case]:
    """Every mod in both types; then the other arguments."""
    sizes = (tested.QUERIES, tested.KEYS)
    for dtype in DTYPES:
        for name in tested.score_mods(tested.tables()):
            run = partial(with_tables, name, dtype)
            yield Case(f"score mod: {name}, {dtype}", run)
        for name, mod in tested.mask_mods().items():
            yield Case(f"mask mod: {name}, {dtype}", partial(check, sizes, None, mod, dtype))
        for name, mod in grid_masks().items():
            run = partial(check, (PLACES, PLACES), None, mod, dtype)
            yield Case(f"mask of the gym: {name}, {dtype}", run)
        for name, mod in score_mods().items():
            run = partial(check, (PLACES, PLACES), mod, None, dtype)
            yield Case(f"score mod of the gym: {name}, {dtype}", run)
        for name, options in OPTIONS.items():
            yield Case(f"{name}, {dtype}", partial(with_options, dtype, **options))


def grid_masks() -> dict[str, Mod]:
    """Masks of 16 places, in a row or in a grid of 4 by 4."""

    def row(i: Tensor) -> Tensor:
        return i // SIDE

    def column(i: Tensor) -> Tensor:
        return i % SIDE

    def neighbours(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return ((row(q) - row(k)).abs() <= 1) & ((column(q) - column(k)).abs() <= 1)

    def inside(q: Tensor, k: Tensor) -> Tensor:
        """The 3 by 3 places around a query, moved into the grid where it stands at the rim."""
        y, x = row(q).clamp(1, SIDE - 2), column(q).clamp(1, SIDE - 2)
        return ((y - row(k)).abs() <= 1) & ((x - column(k)).abs() <= 1)

    def near_tiles(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        """The tile of 2 by 2 places that a query stands in, and those beside it."""
        down = row(q) // 2 - row(k) // 2
        return down.abs() + (column(q) // 2 - column(k) // 2).abs() <= 1

    def of_document(mod: Mod) -> Mod:
        """A mask of positions within each document."""

        def local(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            same = DOCUMENTS[q] == DOCUMENTS[k]
            own = mod(b, h, q - STARTS[DOCUMENTS[q]], k - STARTS[DOCUMENTS[k]])
            return same & own

        return local

    def causal(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return q >= k

    def window(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (q >= k) & (q - k <= 2)

    return {
        "neighbourhood in two dimensions": neighbours,
        "neighbourhood moved in at the rim": lambda b, h, q, k: inside(q, k),
        "tiles and their neighbours": near_tiles,
        "the same row": lambda b, h, q, k: row(q) == row(k),
        "the same column": lambda b, h, q, k: column(q) == column(k),
        "rows for some heads, columns for others": lambda b, h, q, k: torch.where(
            h % 2 == 0, row(q) == row(k), column(q) == column(k)
        ),
        "dilated": lambda b, h, q, k: (q >= k) & ((q - k) % 3 == 0) & (q - k <= 9),
        "sinks beside a window": lambda b, h, q, k: window(b, h, q, k) | ((k < 2) & (q >= k)),
        "prefix of each document": of_document(lambda b, h, q, k: (q >= k) | (k < 2)),
        "causal in each document": of_document(causal),
        "window in each document": of_document(window),
        "words see the picture before them": lambda b, h, q, k: PICTURES[q] == k // 4 + 1,
        "one of two in turn": lambda b, h, q, k: (q + k) % 2 == 0,
        "blocks, causal among them": lambda b, h, q, k: q // 4 >= k // 4,
        "by a shift for each batch entry": lambda b, h, q, k: q + 2 * b >= k,
    }


def score_mods() -> dict[str, Mod]:
    """Score mods of 16 places."""
    slopes = torch.tensor([2.0 ** -(head + 1) for head in range(tested.HEADS)]).double()
    buckets = torch.tensor([0, 1, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5])
    table = torch.randn(6, tested.HEADS, generator=torch.Generator().manual_seed(4)).double()

    return {
        "ALiBi with slopes of powers of two": lambda s, b, h, q, k: s - slopes[h] * (q - k),
        "relative buckets": lambda s, b, h, q, k: s + table[buckets[(q - k).abs()], h],
        "soft cap, then causal": lambda s, b, h, q, k: torch.where(
            q >= k, 20 * torch.tanh(s / 20), -torch.inf
        ),
        "distance in the grid": lambda s, b, h, q, k: (
            s - ((q // SIDE - k // SIDE).abs() + (q % SIDE - k % SIDE).abs()) / 2
        ),
        "decay of the past": lambda s, b, h, q, k: torch.where(q >= k, s * 0.9 ** (q - k), -30.0),
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scale": {"scale": 0.3},
    "grouped heads": {"key_heads": 2, "enable_gqa": True},
    "one key head": {"key_heads": 1, "enable_gqa": True},
    "one batch entry of keys": {"of_one": True},
}


def with_tables(name: str, dtype: torch.dtype) -> None:
    """A score mod that captures tensors; they have gradients too."""
    tables = tested.tables(dtype)
    mod = tested.score_mods(tables)[name]
    vectors, captured = tested.vectors(dtype), [*tables.values()]
    formula = by_tests if name in LOOKUPS_OF_ROWS else by_torch
    compare(vectors, mod, None, captured, formula=formula)


def with_options(
    dtype: torch.dtype, key_heads: int = tested.HEADS, of_one: bool = False, **options: Any
) -> None:
    """The other arguments, beside a causal mask."""
    vectors = tested.vectors(dtype, key_heads=key_heads)
    if of_one:
        vectors = tested.Vectors(
            vectors[0], *(t[:1].detach().requires_grad_() for t in vectors[1:])
        )
    compare(vectors, None, tested.mask_mods()["causal"], **options)


def check(
    sizes: tuple[int, int],
    score_mod: Mod | None,
    mask_mod: Mod | None,
    dtype: torch.dtype,
) -> None:
    """One mod of this many queries and keys."""
    compare(tested.vectors(dtype, queries=sizes[0], keys=sizes[1]), score_mod, mask_mod)


def by_torch(
    vectors: tested.Vectors, score_mod: Mod | None, blocks: Any, scale: float | None
) -> Tensor:
    """The output by torch's formula."""
    query, key, value = vectors
    if blocks is None:
        blocks = theirs._create_empty_block_mask(query, key)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    mod = score_mod or theirs._identity
    return math_attention(query, key, value, mod, blocks.as_tuple(), factor, {})[0]


def by_tests(
    vectors: tested.Vectors, score_mod: Mod | None, blocks: Any, scale: float | None
) -> Tensor:
    """The output by the dense formula of the tests."""
    return tested.dense(vectors, score_mod, scale=scale).output


def compare(
    vectors: tested.Vectors,
    score_mod: Mod | None,
    mask_mod: Mod | None,
    captured: Sequence[Tensor] = (),
    formula: Formula = by_torch,
    **options: Any,
) -> None:
    """Output and logsumexp are those of torch's eager function, gradients those of a formula."""
    sizes = (*vectors.query.shape[:-1], vectors.key.shape[-2])
    asked = theirs.AuxRequest(lse=True)
    makers = qkv.create_block_mask, theirs.create_block_mask
    own, its = (block_mask(create, mask_mod, sizes) for create in makers)
    output, aux = qkv.flex_attention(*vectors, score_mod, own, return_aux=asked, **options)
    plain = [tensor.detach() for tensor in vectors]
    with eager(), torch.no_grad():
        right, other = theirs.flex_attention(*plain, score_mod, its, return_aux=asked, **options)
    # Both are of one type, so neither is the truth: each rounds the sums of some terms.
    rounding = 64 * torch.finfo(output.dtype).eps
    assert_close(output, right.double(), what="output", rounding=rounding)
    assert_close(aux.lse, other.lse.double(), what="logsumexp", rounding=rounding)
    leaves = [*vectors, *captured]
    expected = gradients(formula(vectors, score_mod, its, options.get("scale")), leaves)
    for place, pair in enumerate(zip(gradients(output, leaves), expected, strict=True)):
        mine, truth = pair
        bound = rounding * max(1.0, truth.abs().max().item())
        assert_close(mine, truth.double(), what=f"gradient {place}", rounding=bound)


def block_mask(create: Callable[..., Any], mask_mod: Mod | None, sizes: Sequence[int]) -> Any:
    """The mask of a mod, in blocks that are smaller than the matrix."""
    return mask_mod and create(mask_mod, *sizes, device="cpu", BLOCK_SIZE=4)


@contextmanager
def eager() -> Iterator[None]:
    """torch's function runs its formula without compiling it."""
    name = "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"
    before = getattr(theirs, name)
    setattr(theirs, name, True)
    try:
        yield
    finally:
        setattr(theirs, name, before)
