"""The native kernels behind the front door: what the grid and the contracts do not ask of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import qkv
from qkv.testing import assert_close

REASON = qkv.implementations()["native"]
if REASON is not None:
    pytest.skip(REASON, allow_module_level=True)

LENGTH = 70  # more than a tile of keys
MASKS = {
    "none": None,
    "causal": qkv.Causal(),
    "window": qkv.Window(9, 3),
    "overlapping": qkv.Window(9, 3) | qkv.Prefix(64) & qkv.Causal(),
    "holes": ~qkv.Window(5, 20) & ~qkv.Prefix(3),
    "padding": qkv.Padding(torch.tensor([0, 33])),
    "documents": qkv.Documents(lengths=torch.tensor([20, 0, 31])) & qkv.Causal(),
}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def tensors() -> list[torch.Tensor]:
    shapes = (2, 1, 4, LENGTH, 5), (2, 1, 2, LENGTH, 5), (1, 2, LENGTH, 3)
    return [normal(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("name", MASKS)
def test_values_and_first_and_second_gradients(name) -> None:
    def derivatives(impl: str) -> list[torch.Tensor]:
        inputs = tensors()
        output = qkv.attend(*inputs, mask=MASKS[name], impl=impl)
        first = torch.autograd.grad(output.sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        plain = torch.autograd.grad(
            qkv.attend(*inputs, mask=MASKS[name], impl=impl).sin().sum(), inputs
        )
        return [output, *plain, *first, *second]

    for found, right in zip(derivatives("native"), derivatives("reference"), strict=True):
        assert_close(found, right)


@pytest.mark.parametrize("chosen", [(0,), (slice(None), slice(None), 3), (1, 0, [2, 0])])
def test_chosen_entries(chosen) -> None:
    query, key, _ = (tensor.detach() for tensor in tensors())
    matrix = qkv.attention(query, key, mask=qkv.Causal(), impl="native")[chosen]
    value = normal(LENGTH, 3, seed=5)
    assert_close(matrix @ value, replace(matrix, impl="reference") @ value)


def test_values_of_their_own_for_heads_that_share_keys_are_refused() -> None:
    query, key, _ = tensors()
    matrix = qkv.attention(query, key, impl="native")
    with pytest.raises(qkv.UnsupportedError, match="one value for all heads of a group"):
        _ = matrix @ query
    value = normal(4, LENGTH, 2)
    assert_close(replace(matrix, impl="auto") @ value, replace(matrix, impl="reference") @ value)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_masked_never_leaks(poison) -> None:
    """Two documents, the second of them broken."""
    mask = qkv.Documents(lengths=torch.tensor([50, 20]))
    clean = slice(0, 50)

    def run(entry: float) -> list[torch.Tensor]:
        inputs = tensors()
        with torch.no_grad():
            for tensor in inputs[1:]:
                tensor[..., 55, 1] = entry
        output = qkv.attend(*inputs, mask=mask, impl="native")
        gradients = torch.autograd.grad(output.square().sum(), inputs)
        return [part[..., clean, :] for part in (output, *gradients)]

    for found, right in zip(run(poison), run(0.5), strict=True):
        assert_close(found, right)


def test_what_it_cannot_do_is_refused() -> None:
    query, key, value = tensors()
    wide = torch.zeros(LENGTH, 257)
    plain = {"impl": "native"}
    refused = {
        "no CustomScore score": {"score": lambda query, key: query @ key.mT},
        "no CustomBias bias": {"bias": lambda scores, cells: scores},
        "up to 8 biases": {"bias": [qkv.SoftCap(2.0)] * 9},
        "no CustomNormalizer normalizer": {"normalizer": lambda scores, mask: scores},
        "alpha of Entmax up to 2": {"normalizer": qkv.Entmax(torch.tensor([2.5]))},
        "intervals of keys or given as tensors": {"mask": lambda cells: cells.col != cells.row},
    }
    for reason, stages in refused.items():
        with pytest.raises(qkv.UnsupportedError, match=f'impl="native" .*{reason}'):
            _ = qkv.attention(query, key, **plain, **stages) @ value
    with pytest.raises(qkv.UnsupportedError, match="widths up to 256"):
        _ = qkv.attention(wide, wide, **plain) @ wide
    with pytest.raises(qkv.UnsupportedError, match="one Top at a time"):
        qkv.attention(query, key, **plain).measure(qkv.Top(2), qkv.Top(3))
    with pytest.raises(qkv.UnsupportedError, match="there is nothing to compute"):
        _ = qkv.attention(query[..., :0, :], key, **plain) @ value


def test_every_stage_runs_on_it() -> None:
    """What `auto` takes for large matrices of each native stage, with gradients in the budget."""
    query = torch.zeros(8, 300, 16)
    stages = [
        {"score": qkv.Additive(torch.zeros(16))},
        *(
            {"score": score}
            for score in (qkv.Cosine(), qkv.Gaussian(), qkv.Bilinear(torch.eye(16)))
        ),
        *(
            {"bias": bias}
            for bias in (qkv.SoftCap(2.0), qkv.ALiBi(torch.ones(8)), torch.zeros(300))
        ),
        {"bias": qkv.RelativeBias(torch.zeros(8, 8), max_distance=16)},
        {"mask": qkv.Dense(torch.ones(300, 300, dtype=torch.bool))},
        *({"normalizer": n} for n in (qkv.Sparsemax(), qkv.Entmax15(), qkv.Entmax(1.3))),
        *({"normalizer": n} for n in (qkv.Sigmoid(), qkv.Identity(), qkv.TopK(3))),
        {"normalizer": qkv.Softmax(sink=0.0)},
    ]
    for given in stages:
        matrix = qkv.attention(query, query, **given)
        assert matrix.plan().implementation == "native", given
    weight = torch.zeros(16, requires_grad=True)
    matrix = qkv.attention(query, query, score=qkv.Additive(weight))
    assert matrix.plan().implementation == "native", "its weight's gradient too is in the kernels"
    assert qkv.attention(query, query).dropout(0.1).plan().implementation == "native"


@pytest.mark.parametrize("length", [1, 16, 256])
@pytest.mark.parametrize("mask", [None, qkv.Causal(), qkv.Window(2, 2)], ids=repr)
def test_auto_takes_it_at_any_length(length: int, mask: qkv.Window | None) -> None:
    query = torch.zeros(8, length, 64)
    assert qkv.attention(query, query, mask=mask).plan().implementation == "native"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sink", [-60.0, 0.0, 30.0, 38.0, 60.0])
def test_what_a_large_sink_leaves_keeps_its_digits(sink: float, dtype: torch.dtype) -> None:
    query, key = normal(2, 5, 4).to(dtype), normal(2, 40, 4, seed=1).to(dtype)
    value = normal(2, 40, 3, seed=2).abs().to(dtype)

    def parts(dtype: torch.dtype, impl: str) -> list[torch.Tensor]:
        sinks = torch.full((2,), sink, dtype=dtype)
        leaves = [*(tensor.to(dtype) for tensor in (query, key, value)), sinks]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        normalizer = qkv.Softmax(leaves[-1])
        matrix = qkv.attention(*leaves[:2], normalizer=normalizer, impl=impl)
        output = matrix @ leaves[2]
        gradients = torch.autograd.grad(output.sum(), leaves)
        return [output, matrix.entropy(), matrix.dense(), matrix.mass(), *gradients]

    rtol = 1e-4 if dtype is torch.float32 else 1e-11
    for found, right in zip(parts(dtype, "native"), parts(torch.float64, "reference"), strict=True):
        atol = rtol * right.abs().max().item()
        torch.testing.assert_close(found.double(), right, rtol=0, atol=atol)


def test_an_entropy_that_the_sink_leaves_nothing_of_is_0() -> None:
    query, key = torch.full((2, 4), -2.2), 2.2 * torch.linspace(1, 1.2, 6)[:, None].expand(6, 4)
    for sink in (0.0, 80.0, 1e4):
        matrix = qkv.attention(
            query, key, score=qkv.Dot(2.0), normalizer=qkv.Softmax(sink), impl="native"
        )
        exact = qkv.attention(
            query.double(), key.double(), score=qkv.Dot(2.0), normalizer=qkv.Softmax(sink)
        )
        torch.testing.assert_close(matrix.entropy(), exact.entropy().float(), rtol=1e-4, atol=0)
    assert not matrix.entropy().any()


def test_parameters_and_masks_of_any_strides() -> None:
    """Every other number of a longer tensor, and a mask whose heads lie side by side."""
    wide = torch.randn(4, 16, dtype=torch.float64)
    query = normal(2, 4, 16, 8)
    weight, bias = wide[0, ::2], wide[1, ::2].requires_grad_()
    heads = wide[2, :8:2]
    mask = (normal(2, 16, 16, 4) > -0.5).permute(0, 3, 1, 2)
    cells = normal(16, 16, 4, seed=3).permute(2, 0, 1)
    stages = [
        {"score": qkv.Additive(weight, bias)},
        {"score": qkv.Additive(weight)},
        {"score": qkv.Bilinear(normal(16, 16)[::2, ::2])},
        {"bias": [cells, cells.mT, qkv.ALiBi(heads), normal(16, 1, 1)[:, 0].expand(16, 16)]},
        {"bias": qkv.RelativeBias(normal(16, 8)[::4, :].mT.contiguous().mT, max_distance=5)},
        {"bias": qkv.nn.GridBias(normal(7, 4).mT, normal(5, 4).mT, 4)},
        {"normalizer": qkv.Softmax(heads), "mask": qkv.Dense(mask)},
        {"normalizer": qkv.Sigmoid(heads), "mask": qkv.Padding(torch.arange(4)[::2] * 8)},
        {"mask": qkv.Intervals(torch.arange(32)[::2] // 4, torch.arange(64)[::4] // 4 + 2)},
        {"mask": qkv.Documents(ids=torch.arange(32)[::2] // 8)},
        {"query_offset": torch.arange(4)[::2], "bias": qkv.ALiBi(heads)},
    ]
    for given in stages:
        inputs = [query.clone().requires_grad_(), query.mT.contiguous().mT, query[..., ::2]]

        def parts(impl: str, given=given, inputs=inputs) -> list[torch.Tensor]:
            matrix = qkv.attention(*inputs[:2], impl=impl, **given)
            output = matrix @ inputs[2]
            return [output, torch.autograd.grad(output.sum(), inputs[0])[0], matrix.mT @ query]

        for found, right in zip(parts("native"), parts("reference"), strict=True):
            assert_close(found, right, what=str(given), rounding=1e-13)


def test_the_same_bits_again() -> None:
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        inputs = [tensor.detach().float().requires_grad_() for tensor in tensors()]

        def run(inputs=inputs) -> list[torch.Tensor]:
            output = qkv.attend(*inputs, mask=qkv.Causal(), impl="native")
            return [output, *torch.autograd.grad(output.sin().sum(), inputs)]

        for one, other in zip(run(), run(), strict=True):
            assert torch.equal(one, other)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("mask", [None, qkv.Causal()], ids=str)
@pytest.mark.parametrize("queries", [LENGTH, 3])
def test_attend_gives_the_bits_of_the_matrix_and_the_same_errors(mask, queries, monkeypatch):
    """Where nothing is differentiated it has a shorter way; causal: of as many queries as keys."""
    query, key, value = normal(2, 4, queries, 5), normal(2, 2, LENGTH, 5), normal(2, 2, LENGTH, 3)
    made = []
    whole = qkv.AttentionMatrix.__matmul__
    monkeypatch.setattr(
        qkv.AttentionMatrix, "__matmul__", lambda *args: (made.append(args), whole(*args))[1]
    )
    if mask is not None and queries != LENGTH:
        with pytest.raises(ValueError, match="query_offset must be given where Causal"):
            qkv.attend(query, key, value, mask=mask)
        return
    found = qkv.attend(query, key, value, mask=mask)
    assert not made
    assert torch.equal(found, qkv.attention(query, key, mask=mask) @ value)
    model = torch.nn.Module()
    model.forward = lambda: qkv.attend(query, key, value, mask=mask)
    with qkv.observe(model) as capture:
        model()
    [call] = capture.calls
    assert call.matrix.mask == mask
