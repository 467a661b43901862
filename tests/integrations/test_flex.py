"""FlexAttention against torch's own eager forward, and against the dense formula in float64."""

from __future__ import annotations

from typing import Any

import flex_cases as cases
import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import flex_attention as theirs
from torch.nn.attention.flex_attention import BlockMask

import qkv
from qkv.request import strip

NAMES = [*cases.score_mods(cases.tables())]
MASKS = cases.mask_mods()
SIZES = (cases.BATCH, cases.HEADS, cases.QUERIES, cases.KEYS)
BOTH = theirs.AuxRequest(lse=True, max_scores=True)


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Torch's own FlexAttention runs its formula without compiling it."""
    monkeypatch.setattr(theirs, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


def close(results, truths) -> None:
    for result, truth in zip(results, truths, strict=True):
        torch.testing.assert_close(result, truth, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("memory", [None, 10_000], ids=["at once", "in blocks"])
@pytest.mark.parametrize("name", NAMES)
def test_a_score_mod_has_the_values_and_gradients_of_the_formula(name, memory) -> None:
    tables, v = cases.tables(), cases.vectors()
    mod = cases.score_mods(tables)[name]
    matrix = qkv.flex_matrix(v.query, v.key, mod, memory=memory)
    output, lse = matrix.measure(qkv.Product(v.value), qkv.LogSumExp())
    truth = cases.dense(v, mod)
    close((output, lse, matrix @ v.value), (truth.output, truth.lse, truth.output))
    wanted = [*v, *tables.values()]
    close(cases.gradients(matrix @ v.value, wanted), cases.gradients(truth.output, wanted))
    close(cases.gradients(lse, wanted), cases.gradients(truth.lse, wanted))


@pytest.mark.parametrize("memory", [None, 10_000], ids=["at once", "in blocks"])
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_mod_has_the_values_and_gradients_of_the_formula(name, memory) -> None:
    v, mod = cases.vectors(), MASKS[name]
    blocks = qkv.create_block_mask(mod, *SIZES, BLOCK_SIZE=4)
    truth = cases.dense(v, None, mod)
    matrix = qkv.flex_matrix(v.query, v.key, None, blocks, memory=memory)
    output = matrix @ v.value
    close((output, matrix.logsumexp()), (truth.output, truth.lse))
    close(cases.gradients(output, [*v]), cases.gradients(truth.output, [*v]))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_torch_computes(name) -> None:
    tables, v = cases.tables(gradients=False), cases.vectors(gradients=False)
    mod = cases.score_mods(tables)[name]
    asked = theirs.AuxRequest(lse=True)
    output, aux = qkv.flex_attention(*v, mod, return_aux=asked)
    expected, other = theirs.flex_attention(*v, mod, return_aux=asked)
    close((output, aux.lse), (expected, other.lse))
    assert aux.max_scores is None
    assert isinstance(aux, theirs.AuxOutput)


@pytest.mark.parametrize("name", MASKS)
def test_the_block_mask_is_torchs_own(name) -> None:
    for sizes, block, separate in (
        (SIZES, 4, True),
        (SIZES, (8, 3), False),
        ((*SIZES[:2], 8, 8), 128, True),
        (SIZES, (2, 5), True),
    ):
        options = {"BLOCK_SIZE": block, "separate_full_blocks": separate, "device": "cpu"}
        ours = qkv.create_block_mask(MASKS[name], *sizes, **options)
        other = theirs.create_block_mask(MASKS[name], *sizes, **options)
        assert type(ours) is BlockMask
        assert ours.mask_mod is MASKS[name]
        assert ours.seq_lengths == other.seq_lengths
        assert ours.BLOCK_SIZE == other.BLOCK_SIZE
        for attribute in BlockMask._TENSOR_ATTRS:
            mine, its = getattr(ours, attribute), getattr(other, attribute)
            assert (mine is None) == (its is None), attribute
            if mine is not None:
                assert mine.dtype == its.dtype
                assert torch.equal(mine, its), attribute


def test_a_long_block_mask_is_made_piece_by_piece(monkeypatch) -> None:
    from qkv.integrations.flex import create

    monkeypatch.setattr(create, "_CELLS", 500)
    for name in ("causal", "strided", "by batch and head"):
        ours = qkv.create_block_mask(MASKS[name], *SIZES, BLOCK_SIZE=4)
        other = theirs.create_block_mask(MASKS[name], *SIZES, BLOCK_SIZE=4, device="cpu")
        assert torch.equal(ours.kv_indices, other.kv_indices)
        assert torch.equal(ours.full_kv_num_blocks, other.full_kv_num_blocks)


def test_without_mods_it_is_plain_attention() -> None:
    v = cases.vectors(torch.float32, queries=13)
    expected = torch.nn.functional.scaled_dot_product_attention(*v)
    torch.testing.assert_close(qkv.flex_attention(*v), expected)
    torch.testing.assert_close(
        qkv.flex_attention(*v, scale=0.3),
        torch.nn.functional.scaled_dot_product_attention(*v, scale=0.3),
    )


def test_largest_scores_and_logsumexp() -> None:
    tables, v = cases.tables(), cases.vectors()
    mod, mask = cases.score_mods(tables)["alibi"], MASKS["rows that see nothing"]
    blocks = qkv.create_block_mask(mask, None, None, *SIZES[2:], BLOCK_SIZE=4)
    truth = cases.dense(v, mod, mask)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            output, aux = qkv.flex_attention(*v, mod, blocks, return_aux=BOTH)
        close((output, aux.lse, aux.max_scores), truth)
        assert torch.equal(output[..., :4, :], torch.zeros_like(output[..., :4, :]))
        assert not aux.max_scores.requires_grad
        assert aux.lse.requires_grad == gradients
    output, aux = qkv.flex_attention(*v, mod, blocks, return_aux=BOTH)
    wanted = [*v, tables.slopes]
    close(cases.gradients(aux.lse, wanted), cases.gradients(truth.lse, wanted))
    output, lse = qkv.flex_attention(*v, mod, blocks, return_lse=True)
    close((output, lse), (truth.output, truth.lse))
    alone, aux = qkv.flex_attention(*v, mod, blocks, return_aux=theirs.AuxRequest(max_scores=True))
    close((alone, aux.max_scores), (truth.output, truth.max_scores))
    assert aux.lse is None
    output, aux = qkv.flex_attention(*v, mod, return_aux=theirs.AuxRequest())
    assert aux == (None, None)


@pytest.mark.parametrize("key_heads", [1, 2])
def test_grouped_heads(key_heads) -> None:
    tables, v = cases.tables(), cases.vectors(key_heads=key_heads)
    for name in ("alibi", "pairs", "squared", "documents, alibi"):
        mod = cases.score_mods(tables)[name]
        truth, wanted = cases.dense(v, mod), [*v, *tables.values()]
        output = qkv.flex_attention(*v, mod, enable_gqa=True)
        close((output,), (truth.output,))
        close(cases.gradients(output, wanted), cases.gradients(truth.output, wanted))
    with torch.no_grad():
        expected = theirs.flex_attention(*(x.detach() for x in v), mod, enable_gqa=True)
        close((qkv.flex_attention(*v, mod, enable_gqa=True),), (expected,))


def test_one_batch_of_keys_serves_all() -> None:
    v = cases.vectors()
    few = cases.Vectors(v.query, v.key[:1], v.value[:1])
    mask = MASKS["lengths"]
    blocks = qkv.create_block_mask(mask, *SIZES, BLOCK_SIZE=4)
    every = cases.Vectors(v.query, *(x.expand(2, -1, -1, -1) for x in few[1:]))
    truth = cases.dense(every, None, mask)
    output = qkv.flex_attention(*few, block_mask=blocks)
    close((output,), (truth.output,))
    close(cases.gradients(output, [*v]), cases.gradients(truth.output, [*v]))


def test_tensors_that_are_not_contiguous() -> None:
    v = cases.vectors()
    turned = cases.Vectors(*(x.transpose(1, 2).contiguous().transpose(1, 2) for x in v))
    mod = cases.score_mods(cases.tables())["relative table"]
    close((qkv.flex_attention(*turned, mod),), (cases.dense(v, mod).output,))
    sliced = cases.Vectors(*(torch.cat([x, x], -1)[..., ::2] for x in v))
    close((qkv.flex_attention(*sliced, mod),), (cases.dense(sliced, mod).output,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", ["causal", "squared", "alibi", "relative table", "softcap"])
def test_narrow_types_are_as_exact_as_the_formula_allows(name, dtype) -> None:
    from qkv.testing.comparator import assert_close

    tables, v = cases.tables(dtype), cases.vectors(dtype)
    wide = cases.Tables((n, t.detach().double().requires_grad_()) for n, t in tables.items())
    true = cases.Vectors(*(x.detach().double().requires_grad_() for x in v))
    mod, wide_mod = cases.score_mods(tables)[name], cases.score_mods(wide)[name]
    truth, baseline = cases.dense(true, wide_mod), cases.dense(v, mod)
    output, aux = qkv.flex_attention(*v, mod, return_aux=theirs.AuxRequest(lse=True))
    assert_close(output, truth.output, baseline.output.to(dtype))
    assert aux.lse.dtype == torch.float32
    output = qkv.flex_attention(*v, mod)
    wanted, its = [*v, *tables.values()], [*true, *wide.values()]
    found = cases.gradients(output, wanted)
    expected = cases.gradients(truth.output, its)
    dense = cases.gradients(baseline.output.to(dtype), wanted)
    for gradient, true_gradient, other in zip(found, expected, dense, strict=True):
        assert_close(gradient, true_gradient, other)


def hand_made(listed, full=None, mask_mod=None):
    """A BlockMask of blocks of 4 by 4, `[B, H, 3, 4]`."""
    parts = []
    for blocks in (listed, full):
        if blocks is not None:
            order = torch.argsort(blocks.int(), dim=-1, descending=True, stable=True).int()
            parts += [blocks.sum(-1).int(), order]
    return BlockMask.from_kv_blocks(*parts, BLOCK_SIZE=4, mask_mod=mask_mod, seq_lengths=SIZES[2:])


def test_what_blocks_leave_out_is_left_out() -> None:
    v = cases.vectors()
    made = torch.Generator().manual_seed(4)
    for lead in ((1, 1), SIZES[:2]):
        listed = torch.rand(*lead, 3, 4, generator=made) < 0.5
        cells = listed.repeat_interleave(4, -2).repeat_interleave(4, -1)[..., :11, :13]
        for mod in (None, MASKS["causal"], MASKS["strided"]):
            truth = cases.dense(v, None, mod, cells)
            for blocks in (
                hand_made(listed, None, mod),
                hand_made(listed & listed.roll(1, -1), listed & ~listed.roll(1, -1), mod),
            ):
                for memory in (None, 10_000):
                    matrix = qkv.flex_matrix(v.query, v.key, None, blocks, memory=memory)
                    output = matrix @ v.value
                    close((output,), (truth.output,))
                    close(cases.gradients(output, [*v]), cases.gradients(truth.output, [*v]))


def test_many_separate_blocks_are_skipped() -> None:
    queries, keys = 64, 4096
    listed = torch.zeros(1, 1, 4, 256, dtype=torch.bool)
    listed[..., ::40] = True
    order = torch.argsort(listed.int(), dim=-1, descending=True, stable=True).int()
    blocks = BlockMask.from_kv_blocks(
        listed.sum(-1).int(), order, BLOCK_SIZE=16, seq_lengths=(queries, keys)
    )
    v = cases.vectors(torch.float32, queries=queries, keys=keys)
    matrix = qkv.flex_matrix(v.query, v.key, None, blocks, impl="tiled", memory=2**20)
    assert matrix.plan().multiplications * 10 < matrix.query.numel() * keys
    cells = listed.repeat_interleave(16, -2).repeat_interleave(16, -1)
    torch.testing.assert_close(matrix @ v.value, cases.dense(v, listed=cells).output)


def test_a_mask_without_a_length_of_its_own_fits_any() -> None:
    v = cases.vectors()
    blocks = theirs._create_empty_block_mask(v.query, v.key)
    close((qkv.flex_attention(*v, block_mask=blocks),), (cases.dense(v).output,))


def test_nothing_to_attend_to() -> None:
    mod = cases.score_mods(cases.tables())["alibi"]
    for queries, keys in ((0, 5), (5, 0)):
        v = cases.vectors(queries=queries, keys=keys)
        output, aux = qkv.flex_attention(*v, mod, return_aux=BOTH)
        assert output.shape == (*SIZES[:2], queries, 5)
        assert not output.any()
        assert bool((aux.lse == -torch.inf).all())
        assert bool((aux.max_scores == -torch.inf).all())


OF_A_TABLE = {
    "callable": lambda t: lambda s, b, h, q, k: torch.tanh(s) * t[h, q - k + 3],
    "recognised": lambda t: (
        lambda s, b, h, q, k: torch.where(
            q >= k, 2 * torch.tanh(s / 2) + t[h, q - k + 3].exp(), -torch.inf
        )
    ),
}


@pytest.mark.parametrize("memory", [None, 10_000], ids=["at once", "in blocks"])
@pytest.mark.parametrize("name", OF_A_TABLE)
def test_every_derivative(name, memory) -> None:
    small = cases.vectors(queries=3, keys=3, batch=1)
    table = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)

    def attend(query, key, value, table):
        return qkv.flex_matrix(query, key, OF_A_TABLE[name](table), memory=memory) @ value

    arguments = (*(x.detach()[:, :2].requires_grad_() for x in small), table)
    assert torch.autograd.gradcheck(attend, arguments, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(attend, arguments, fast_mode=True)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:DeprecationWarning")
def test_traced_programs_are_right_for_other_numbers() -> None:
    v = [x.detach() for x in cases.vectors()]
    slopes = cases.tables(gradients=False).slopes
    blocks = qkv.create_block_mask(MASKS["causal"], None, None, *SIZES[2:], BLOCK_SIZE=4)

    def attend(*vectors):
        return qkv.flex_attention(*vectors, lambda s, b, h, q, k: s + slopes[h] * (k - q), blocks)

    others = [x + 1 for x in v]
    for program in (
        make_fx(attend, tracing_mode="real")(*v),
        torch.jit.trace(attend, tuple(v), check_trace=False),
    ):
        close((program(*others),), (attend(*others),))


def test_what_is_masked_never_leaks() -> None:
    v = cases.vectors()
    key, value = (x.detach().clone() for x in v[1:])
    key[:, :, 5], value[:, :, 5] = torch.nan, torch.inf
    blocks = qkv.create_block_mask(MASKS["causal"], None, None, *SIZES[2:], BLOCK_SIZE=4)
    for name in ("alibi", "squared"):
        mod = cases.score_mods(cases.tables())[name]
        query = v.query.detach().requires_grad_()
        output = qkv.flex_attention(query, key, value, mod, blocks)
        truth = qkv.flex_attention(*v, mod, blocks)
        close((output[..., :5, :],), (truth[..., :5, :],))
        (found,) = cases.gradients(output[..., :5, :], [query])
        (expected,) = cases.gradients(truth[..., :5, :], [v.query])
        close((found[..., :5, :],), (expected[..., :5, :],))


def test_transforms() -> None:
    v, tables = cases.vectors(), cases.tables()

    def loss(function):
        def of(query, slopes):
            def mod(s, b, h, q, k):
                return torch.where(q >= k, s + slopes[h] * (k - q), -torch.inf)

            return function(query, mod).square().sum()

        return of

    def ours(query, mod):
        return qkv.flex_attention(query, v.key.detach(), v.value.detach(), mod)

    def truth(query, mod):
        return cases.dense(cases.Vectors(query, v.key.detach(), v.value.detach()), mod).output

    point = (v.query.detach(), tables.slopes.detach())
    wanted = (v.query, tables.slopes)
    truths = torch.autograd.grad(loss(truth)(*wanted), wanted)
    close(torch.func.grad(loss(ours), (0, 1))(*point), truths)
    many = torch.stack([point[1], point[1] * 2])
    close(
        (torch.func.vmap(loss(ours), (None, 0))(point[0], many),),
        (torch.stack([loss(truth)(point[0], one) for one in many]),),
    )


@pytest.mark.parametrize("in_blocks", [False, True], ids=["at once", "in blocks"])
def test_it_compiles(in_blocks, monkeypatch) -> None:
    if in_blocks:
        monkeypatch.setattr(strip, "SMALL", 200)
    v, tables = cases.vectors(), cases.tables()
    blocks = qkv.create_block_mask(MASKS["documents, causal"], *SIZES, BLOCK_SIZE=4)

    def attend(query, key, value, slopes, blocks):
        def mod(s, b, h, q, k):
            return s + slopes[h] * (k - q)

        output, aux = qkv.flex_attention(query, key, value, mod, blocks, return_aux=BOTH)
        return output, aux.lse, aux.max_scores

    compiled = torch.compile(attend, fullgraph=True, backend="aot_eager")
    found = compiled(*v, tables.slopes, blocks)
    mask, mod = MASKS["documents, causal"], cases.score_mods(tables)["alibi"]
    truth, wanted = cases.dense(v, mod, mask), [*v, tables.slopes]
    close(found, truth)
    for result, true in zip(found[:2], truth[:2], strict=True):
        close(cases.gradients(result, wanted), cases.gradients(true, wanted))
    matrix = torch.compile(qkv.flex_matrix, fullgraph=True, backend="aot_eager")
    with pytest.raises(Exception, match="flex_attention can, with return_aux"):
        matrix(v.query, v.key)


class Relative(torch.nn.Module):
    """A module whose method is a mod."""

    def __init__(self) -> None:
        super().__init__()
        table = cases.tables()["relative"].detach()
        self.table = torch.nn.Parameter(table)

    def mod(self, score, batch, head, query, key):
        return score + self.table[head, query - key + cases.KEYS]


@pytest.mark.parametrize("memory", [None, 10_000], ids=["at once", "in blocks"])
def test_a_method_of_a_module_trains_it(memory) -> None:
    v, module = cases.vectors(), Relative()
    matrix = qkv.flex_matrix(v.query, v.key, module.mod, memory=memory)
    truth = cases.dense(v, module.mod).output
    wanted = [module.table]
    close(cases.gradients(matrix @ v.value, wanted), cases.gradients(truth, wanted))


def test_autocast() -> None:
    v = cases.vectors(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output = qkv.flex_attention(*v, cases.score_mods(cases.tables(torch.float32))["alibi"])
    assert output.dtype == torch.bfloat16


def test_kernel_options_are_hints() -> None:
    v = cases.vectors()
    options = {"BLOCK_M": 64, "fwd_BLOCK_N": 32, "PRESCALE_QK": True, "BACKEND": "AUTO"}
    close((qkv.flex_attention(*v, kernel_options=options),), (cases.dense(v).output,))
    with pytest.raises(qkv.UnsupportedError, match=r"BACKEND must be AUTO.*got 'FLASH'"):
        qkv.flex_attention(*v, kernel_options={"BACKEND": "FLASH"})
    with pytest.raises(qkv.UnsupportedError, match="names that torch knows; got 'BLOCK_Q'"):
        qkv.flex_attention(*v, kernel_options={"BLOCK_Q": 64})


def test_arguments_of_another_type() -> None:
    v = cases.vectors()
    with pytest.raises(TypeError, match="kernel_options must be a dict; got list"):
        qkv.flex_attention(*v, kernel_options=[1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="return_aux must be an AuxRequest; got bool"):
        qkv.flex_attention(*v, return_aux=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [np.float32(0.5), torch.tensor(0.5), torch.tensor(2), True])
def test_a_scale_of_another_type(scale) -> None:
    v = cases.vectors()
    truth = cases.dense(v, scale=float(scale)).output
    close((qkv.flex_attention(*v, scale=scale),), (truth,))


def test_random_numbers_are_refused_as_by_torch() -> None:
    """One that is drawn for the first cell would stand for all."""
    v = cases.vectors(gradients=False)
    mods = (
        lambda s, b, h, q, k: s + torch.rand(()),
        lambda s, b, h, q, k: s * torch.randn(()).exp(),
        lambda s, b, h, q, k: s + torch.rand(4)[h] * (q - k),
    )
    before = torch.get_rng_state()
    for mod in mods:
        for function in (theirs.flex_attention, qkv.flex_attention):
            with pytest.raises(RuntimeError, match="random"):
                function(*v, mod)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_factor_that_is_not_finite_is_the_scores_own() -> None:
    v = cases.vectors()
    mod = lambda score, b, h, q, k: score.abs() * 0 + score * float("inf")  # noqa: E731
    assert qkv.flex_attention(*v, lambda s, *_: s * float("inf")).isnan().any()
    assert qkv.flex_attention(*v, mod).isnan().any()


def noop(b, h, q, k):
    return q >= k


def with_mod(mod: Any) -> BlockMask:
    blocks = qkv.create_block_mask(noop, None, None, 11, 13)
    blocks.mask_mod = mod
    return blocks


def second_blocks(mod: Any) -> BlockMask:
    """Those of the second four queries alone, with a mask_mod that is set or not."""
    blocks = qkv.create_block_mask(noop, None, None, 11, 13, BLOCK_SIZE=4)
    blocks = blocks[:, :, torch.tensor([1])]
    blocks.mask_mod = blocks.mask_mod if mod is None else mod
    return blocks


V = cases.vectors()
MISTAKES = {
    "three dimensions": (
        lambda: qkv.flex_attention(V.query[0], V.key[0], V.value[0]),
        ValueError,
        r"query must have four dimensions \[B, H, L, D\]; got \[4, 11, 8\]",
    ),
    "no tensor": (lambda: qkv.flex_attention(1, *V[1:]), TypeError, "query must be a tensor"),
    "heads": (
        lambda: qkv.flex_attention(V.query, V.key[:, :2], V.value[:, :2]),
        ValueError,
        "enable_gqa must be True",
    ),
    "heads that do not divide": (
        lambda: qkv.flex_attention(V.query, V.key[:, :3], V.value[:, :3], enable_gqa=True),
        ValueError,
        "multiple of that of key heads",
    ),
    "a mask of another length": (
        lambda: qkv.flex_attention(*V, block_mask=qkv.create_block_mask(noop, None, None, 11, 11)),
        ValueError,
        r"as there are \[11, 13\]; got one for \[11, 11\]",
    ),
    "a mask of other heads": (
        lambda: qkv.flex_attention(*V, block_mask=qkv.create_block_mask(noop, 1, 2, 11, 13)),
        ValueError,
        r"heads as query \[2, 4\]; got \[1, 2\]",
    ),
    "a mask of qkv": (
        lambda: qkv.flex_attention(*V, block_mask=qkv.Causal()),
        TypeError,
        "must be a BlockMask, as create_block_mask makes one; got Causal",
    ),
    "no function": (lambda: qkv.flex_attention(*V, 3.0), TypeError, "score_mod must be a function"),
    "both ways to ask": (
        lambda: qkv.flex_attention(*V, return_lse=True, return_aux=BOTH),
        ValueError,
        "return_lse must be left out",
    ),
    "a score_mod as a mask": (
        lambda: qkv.create_block_mask(lambda b, h, q, k: q * k, None, None, 4, 4),
        TypeError,
        "mask_mod must return bool; got torch.int64",
    ),
    "a score that is not real": (
        lambda: qkv.flex_attention(*V, lambda score, b, h, q, k: score * 1j),
        TypeError,
        "score_mod must return float16, .*, integers or bool; got torch.complex",
    ),
    "a size of nothing": (
        lambda: qkv.create_block_mask(noop, None, None, 0, 4),
        ValueError,
        "positive integers; got None, None, 0, 4 and 128",
    ),
    "order of writing": (
        lambda: qkv.create_block_mask(noop, 1, 1, 4, 4, compute_dq_write_order=True),
        qkv.UnsupportedError,
        "compute_dq_write_order must be False",
    ),
    "no mask function": (
        lambda: qkv.create_block_mask(None, 1, 1, 4, 4),
        TypeError,
        "mask_mod must be a function",
    ),
    "a sliced mask": (
        lambda: qkv.flex_attention(
            *V, block_mask=qkv.create_block_mask(noop, 2, 4, 11, 13, BLOCK_SIZE=4)[:1]
        ),
        RuntimeError,
        "sliced BlockMask",
    ),
    "a mask of which rows of blocks are taken": (
        lambda: qkv.flex_attention(*V, block_mask=second_blocks(None)),
        RuntimeError,
        "sliced BlockMask",
    ),
    "blocks for a part of the queries": (
        lambda: qkv.flex_attention(*V, block_mask=second_blocks(noop)),
        ValueError,
        r"must list blocks for all queries 11; got 1 blocks of 4 \(of a slice, set seq_lengths too",
    ),
    "no score": (
        lambda: qkv.flex_attention(*V, lambda score, b, h, q, k: None),
        TypeError,
        "flex_attention: score_mod must return a tensor; got NoneType",
    ),
    "two scores": (
        lambda: qkv.flex_attention(*V, lambda score, b, h, q, k: (score, score)),
        TypeError,
        "flex_attention: score_mod must return a tensor; got tuple",
    ),
    "a mask that is no tensor": (
        lambda: qkv.create_block_mask(lambda b, h, q, k: True, None, None, 4, 4),
        TypeError,
        "create_block_mask: mask_mod must return a tensor; got bool",
    ),
    "a mask that is no tensor beside blocks": (
        lambda: qkv.flex_attention(*V, block_mask=with_mod(lambda b, h, q, k: True)),
        TypeError,
        "flex_attention: mask_mod must return a tensor; got bool",
    ),
    "a scale that learns": (
        lambda: qkv.flex_attention(*V, scale=torch.tensor(8**-0.5, requires_grad=True)),
        TypeError,
        r"flex_attention: scale must be a number, .* got a tensor \[\], requires_grad=True",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name) -> None:
    call, error, text = MISTAKES[name]
    with pytest.raises(error, match=text):
        call()


def test_detach_reaches_what_mods_capture() -> None:
    table = torch.randn(4, requires_grad=True)
    query = torch.randn(2, 4, 9, 3)

    def mod(score, batch, head, row, col):
        return score * table[head].sin() + (row * col % 7) * table[0]

    matrix = qkv.flex_matrix(query, query, mod)
    assert matrix.dense().requires_grad
    free = matrix.to(torch.float64).detach()
    assert not free.dense().requires_grad
    right = free.dense()
    torch.testing.assert_close(right.float(), matrix.dense().detach())
    with torch.no_grad():
        table.add_(1.0)
    assert torch.equal(free.dense(), right)
