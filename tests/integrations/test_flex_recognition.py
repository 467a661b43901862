"""Which mods are recognised, and that what only looks like one of these is not taken for it."""

from __future__ import annotations

import flex_cases as cases
import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask as made_by_torch

import qkv

SIZES = (cases.BATCH, cases.HEADS, cases.QUERIES, cases.KEYS)
SCORES = {
    "identity": "dot",
    "causal": "dot, mask=causal",
    "inverse causal": "dot, mask=window",
    "masked_fill": "dot, mask=causal",
    "times two": "dot",
    "relative by head": "dot, bias=distances",
    "alibi": "dot, bias=distances",
    "alibi of both sides": "dot, bias=distances",
    "alibi in floats": "dot, bias=distances",
    "relative table": "dot, bias=distances",
    "chained lookups": "dot, bias=distances",
    "pairs": "dot, bias=tensor",
    "per key and query": "dot, bias=tensor+tensor",
    "softcap": "dot, bias=softcap",
    "softcap by a half": "dot, bias=softcap",
    "scaled, capped, biased": "dot, bias=softcap+distances",
    "capped causal": "dot, bias=softcap, mask=causal",
    "documents, causal": "dot, mask=(documents & causal)",
    "documents, alibi": "dot, bias=distances, mask=documents",
    "hidden for some heads": "dot, mask=(intervals | causal)",
    "squared": "dot, bias=callable",
    "lowest": "dot, bias=callable",
    "learnt softcap": "dot, bias=callable",
    "cap of what is masked": "dot, bias=callable",
    "detached scores": "dot, bias=callable",
    "product of both": "dot, bias=callable",
}
MASKS = {
    "causal": "dot, mask=causal",
    "strictly causal": "dot, mask=~window",
    "causal from the end": "dot, mask=window",
    "sliding": "dot, mask=window",
    "both sides": "dot, mask=window",
    "far": "dot, mask=(~window | ~window)",
    "prefix": "dot, mask=(prefix | causal)",
    "prefix of torch": "dot, mask=(prefix | causal)",
    "window of torch": "dot, mask=window",
    "lengths": "dot, mask=intervals",
    "documents": "dot, mask=documents",
    "documents by offsets": "dot, mask=(intervals & intervals)",
    "chunks": "dot, mask=(intervals & causal)",
    "by head": "dot, mask=intervals",
    "any pairs": "dot, mask=dense",
    "nothing": "dot, mask=prefix",
    "everything": "dot",
    "strided": "dot, mask=callable",
    "squares": "dot, mask=callable",
    "small integers": "dot, mask=callable",
    "in floats": "dot, mask=callable",
    "wrapped": "dot, mask=callable",
}


def stages(mod=None, mask_mod=None, v=None, block=16) -> str:
    """The stages of a matrix as its `repr` names them."""
    v = cases.vectors() if v is None else v
    blocks = None
    if mask_mod is not None:
        sizes = (*v.query.shape[:3], v.key.shape[2])
        blocks = qkv.create_block_mask(mask_mod, *sizes, BLOCK_SIZE=block)
    text = repr(qkv.flex_matrix(v.query, v.key, mod, blocks))
    return text.split("score=")[1].split(", normalizer")[0]


@pytest.mark.parametrize("name", SCORES)
def test_what_a_score_mod_is_recognised_as(name) -> None:
    assert stages(cases.score_mods(cases.tables())[name]) == SCORES[name]


@pytest.mark.parametrize("name", MASKS)
def test_what_a_mask_mod_is_recognised_as(name) -> None:
    assert stages(None, cases.mask_mods()[name]) == MASKS[name]


def test_blocks_that_say_no_more_than_the_mask_are_left_out() -> None:
    masks = cases.mask_mods()
    for name in ("causal", "sliding", "lengths", "chunks", "by head", "documents by offsets"):
        assert stages(None, masks[name], block=4) == MASKS[name]
        blocks = made_by_torch(masks[name], *SIZES, BLOCK_SIZE=4, device="cpu")
        matrix = qkv.flex_matrix(*cases.vectors()[:2], None, blocks)
        assert MASKS[name] in repr(matrix)
        blocks.mask_mod = masks["everything"]
        assert "intervals" in repr(qkv.flex_matrix(*cases.vectors()[:2], None, blocks))


def test_the_plan_says_that_kernels_run_what_is_recognised() -> None:
    if qkv.implementations()["native"] is not None:
        pytest.skip("the kernels are not there")
    v, mods = cases.vectors(), cases.score_mods(cases.tables())
    for name in ("causal", "alibi", "relative table", "scaled, capped, biased", "pairs"):
        assert qkv.flex_matrix(v.query, v.key, mods[name]).plan().implementation == "native"
    plan = qkv.flex_matrix(v.query, v.key, mods["squared"]).plan()
    assert plan.implementation == "tiled"
    assert "its kernels know no ScoreMod bias" in plan.reason


class Straight(torch.autograd.Function):
    """A score that is bent forward and goes straight through backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(scores):
        return scores * 3

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def without_gradient(s, b, h, q, k):
    with torch.no_grad():
        s = s * 2
    return s + h


LARGEST, ROUNDED = 2**63 - 1, 2**24  # sums with these wrap around, or are rounded in float32
LARGE_OF_HEADS = torch.full((cases.HEADS,), LARGEST)
TIMES = torch.arange(cases.KEYS, dtype=torch.float64) * 0.25 + 1.7e9


def branching(s, b, h, q, k):
    return s if q >= k else s - 1


LIKE = {
    "its own derivative": lambda s, b, h, q, k: Straight.apply(s),
    "without a derivative": without_gradient,
    "one cell": lambda s, b, h, q, k: torch.where((q == 9) & (k == 2), s + 1, s),
    "a cap of another size": lambda s, b, h, q, k: 2.0 * torch.tanh(s / 2.0000001),
    "hidden by its score": lambda s, b, h, q, k: torch.where(s > 0, s, -torch.inf),
    "scaled behind the bias": lambda s, b, h, q, k: (s + (k - q)) * 2,
    "a bias of the score": lambda s, b, h, q, k: s + torch.where(s > 0, 1.0, 2.0),
    "a bias of the distance, but for one place": lambda s, b, h, q, k: (
        s + torch.where(q == 5, 0, k - q)
    ),
    "a distance of squares": lambda s, b, h, q, k: s + (k * k - q * q) / 50,
    "half of a place": lambda s, b, h, q, k: s + (k // 2 - q // 2).abs(),
    "a distance in narrow numbers": lambda s, b, h, q, k: (
        s + (k.to(torch.int8) * 20 - q * 20).abs()
    ),
    "a distance that wraps around": lambda s, b, h, q, k: s + ((k + LARGEST) >= (q + LARGEST)),
    "a distance with numbers that wrap around": lambda s, b, h, q, k: (
        s + ((k + LARGE_OF_HEADS[h]) >= (q + LARGE_OF_HEADS[h]))
    ),
    "a rounded distance": lambda s, b, h, q, k: (
        s + ((k + ROUNDED).float() >= (q + ROUNDED).float())
    ),
    "a difference of rounded places": lambda s, b, h, q, k: (
        s + ((k + ROUNDED).float() - (q + ROUNDED).float())
    ),
}


@pytest.mark.parametrize("name", LIKE)
def test_what_only_looks_like_a_stage_is_computed_as_it_is(name) -> None:
    v = cases.vectors()
    assert stages(LIKE[name]) == "dot, bias=callable"
    output, truth = qkv.flex_attention(*v, LIKE[name]), cases.dense(v, LIKE[name]).output
    torch.testing.assert_close(output, truth)
    pairs = zip(cases.gradients(output, [*v]), cases.gradients(truth, [*v]), strict=True)
    for gradient, true in pairs:
        torch.testing.assert_close(gradient, true)


MASKS_LIKE = {
    "wrapped sums": lambda b, h, q, k: (k + LARGEST) >= (q + LARGEST),
    "a sum that wraps around": lambda b, h, q, k: k + LARGEST >= q,
    "rounded sums": lambda b, h, q, k: (k + ROUNDED).float() >= (q + ROUNDED).float(),
    "a rounded sum": lambda b, h, q, k: (k + ROUNDED).float() - ROUNDED <= q,
}


@pytest.mark.parametrize("name", MASKS_LIKE)
def test_what_only_looks_like_a_mask_is_computed_as_it_is(name) -> None:
    v, mod = cases.vectors(gradients=False), MASKS_LIKE[name]
    assert stages(None, mod) == "dot, mask=callable"
    blocks = qkv.create_block_mask(mod, None, None, *SIZES[2:])
    output = qkv.flex_attention(*v, block_mask=blocks)
    torch.testing.assert_close(output, cases.dense(v, None, mod).output)


@pytest.mark.parametrize(
    "mod",
    [
        lambda s, b, h, q, k: s + (TIMES.float()[k] - TIMES.float()[q]),
        lambda s, b, h, q, k: s - (TIMES[q] - TIMES[k]),
        lambda s, b, h, q, k: s + TIMES[k] - TIMES[q],
        lambda s, b, h, q, k: 20 * torch.tanh(s / 20) + TIMES[k] - TIMES[q],
        lambda s, b, h, q, k: s + ((k * 4096.0 - q * 4096.0) + TIMES[0] - 1.7e9),
    ],
)
def test_differences_of_large_numbers_leave_the_score_its_digits(mod) -> None:
    v = cases.vectors(torch.float32, gradients=False)
    truth = cases.dense(cases.Vectors(*(part.double() for part in v)), mod).output
    torch.testing.assert_close(
        qkv.flex_attention(*v, mod), truth, rtol=1e-6, atol=1e-6, check_dtype=False
    )


def test_one_large_bias_may_be_added_by_itself() -> None:
    near = cases.tables().per_key
    far = lambda s, b, h, q, k: s + ((k - q) * 1000 + near[b, k])  # noqa: E731
    assert stages(far) == "dot, bias=distances+tensor"


def test_a_mod_that_branches_fails_as_in_torch() -> None:
    with pytest.raises(RuntimeError, match="vmap"):
        qkv.flex_attention(*cases.vectors(), branching)


def test_part_of_a_mask_is_enough_to_skip_blocks() -> None:
    v = cases.vectors(torch.float32, queries=2048, keys=2048, batch=1, gradients=False)
    mods = {
        "mask": lambda b, h, q, k: ((q - k).abs() <= 64) & ((q - k) % 3 == 0),
        "score": lambda s, b, h, q, k: torch.where((q - k).abs() <= 64, s * s, -torch.inf),
    }
    mask = qkv.create_block_mask(mods["mask"], None, None, 2048, 2048, BLOCK_SIZE=2048)
    for matrix in (
        qkv.flex_matrix(v.query, v.key, None, mask),
        qkv.flex_matrix(v.query, v.key, mods["score"]),
    ):
        cells = matrix.plan().multiplications / 16
        assert cells < cases.HEADS * 2048 * 2048 / 4


def test_numbers_that_a_mod_reads_may_change() -> None:
    v, width = cases.vectors(), [3]

    def mask(b, h, q, k):
        return (q >= k) & (q - k < width[0])

    for width[0] in (3, 5):
        blocks = qkv.create_block_mask(mask, None, None, *SIZES[2:])
        torch.testing.assert_close(
            qkv.flex_attention(*v, block_mask=blocks), cases.dense(v, None, mask).output
        )
