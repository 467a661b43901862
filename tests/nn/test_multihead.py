"""Attention in heads: against torch's own, by its formula, ragged, and with every stage."""

from __future__ import annotations

import copy

import pytest
import torch
from ragged import LENGTHS, check_one_by_one, ragged
from torch import nn

import qkv
from qkv.nn import KeyValueCache, MultiHeadAttention, Rotary
from qkv.testing import assert_close


def randn(*shape: int, seed: int = 5) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def learnt(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.rand(*shape) + 0.5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("widths", [{}, {"kdim": 6}, {"kdim": 6, "vdim": 7}])
def test_from_torch_gives_torchs_outputs(bias, batch_first, widths) -> None:
    torchs = nn.MultiheadAttention(
        8, 2, bias=bias, batch_first=batch_first, dtype=torch.float64, **widths
    ).eval()
    with torch.no_grad():
        for parameter in torchs.parameters():
            parameter.normal_()
    ours = MultiHeadAttention.from_torch(torchs)
    assert not ours.training
    query = randn(4, 3, 8)
    key, value = randn(4, 7, widths.get("kdim", 8), seed=6), randn(4, 7, widths.get("vdim", 8))
    padding = torch.arange(7) >= LENGTHS.unsqueeze(1)
    given = [query, key, value]
    if not batch_first:
        given = [tensor.transpose(0, 1) for tensor in given]
    right, weights = torchs(*given, key_padding_mask=padding, average_attn_weights=False)
    right = right if batch_first else right.transpose(0, 1)
    assert_close(ours(query, key, value, lengths=LENGTHS), right)
    assert_close(ours.matrix(query, key, value, lengths=LENGTHS).dense(), weights)
    if not widths:
        x = query.transpose(0, 1) if not batch_first else query
        right = torchs(x, x, x, need_weights=False)[0]
        assert_close(ours(query), right if batch_first else right.transpose(0, 1))


@pytest.mark.parametrize("option", ["add_bias_kv", "add_zero_attn"])
def test_from_torch_refuses_keys_of_no_input(option) -> None:
    with pytest.raises(ValueError, match=f"from_torch: the module must be made without {option}"):
        MultiHeadAttention.from_torch(nn.MultiheadAttention(8, 2, **{option: True}))


class Adapted(nn.Module):
    """A linear map with something added, as adapters replace one."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.weight, self.bias = base, base.weight, base.bias

    def forward(self, x):
        return self.base(x) + x


def test_from_torch_refuses_what_it_would_lose() -> None:
    adapted = nn.MultiheadAttention(8, 2)
    adapted.out_proj = Adapted(adapted.out_proj)  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"from_torch: out_proj must be a linear map .*got Adapted"):
        MultiHeadAttention.from_torch(adapted)
    with pytest.raises(TypeError, match=r"from_torch: module must be a torch\.nn\.Mul.*got Linear"):
        MultiHeadAttention.from_torch(nn.Linear(8, 8))  # type: ignore[arg-type]


def test_from_torch_takes_the_weight_that_a_parametrization_makes() -> None:
    torchs = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64).eval()
    nn.utils.parametrizations.weight_norm(torchs.out_proj)
    nn.utils.parametrizations.spectral_norm(torchs, "in_proj_weight")
    x = randn(4, 3, 8)
    ours = MultiHeadAttention.from_torch(torchs)
    assert_close(ours(x), torchs(x, x, x, need_weights=False)[0])


def frozen_parts(made: MultiHeadAttention) -> set[str]:
    return {name for name, parameter in made.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_from_torch_leaves_frozen_what_is_frozen(mode) -> None:
    packed, apart = nn.MultiheadAttention(8, 2), nn.MultiheadAttention(8, 2, kdim=6)
    with mode():
        assert frozen_parts(MultiHeadAttention.from_torch(packed)) == set()
    packed.in_proj_weight.requires_grad_(False)
    packed.out_proj.bias.requires_grad_(False)
    apart.k_proj_weight.requires_grad_(False)
    inputs = {"query.weight", "key.weight", "value.weight"}
    with mode():
        assert frozen_parts(MultiHeadAttention.from_torch(packed)) == {*inputs, "output.bias"}
        assert frozen_parts(MultiHeadAttention.from_torch(apart)) == {"key.weight"}
        whole = MultiHeadAttention.from_torch(packed.requires_grad_(False))
    assert frozen_parts(whole) == set(dict(whole.named_parameters()))


def test_from_torch_knows_whether_a_parametrized_weight_is_frozen() -> None:
    torchs = nn.MultiheadAttention(8, 2)
    nn.utils.parametrizations.weight_norm(torchs.out_proj)
    with torch.no_grad():
        assert frozen_parts(MultiHeadAttention.from_torch(torchs)) == set()
        torchs.out_proj.parametrizations.requires_grad_(False)
        assert frozen_parts(MultiHeadAttention.from_torch(torchs)) == {"output.weight"}


def test_from_torch_takes_dropout_and_the_mode() -> None:
    made = MultiHeadAttention.from_torch(nn.MultiheadAttention(8, 2, dropout=0.25))
    assert made.training
    assert made.dropout == 0.25


def test_grouped_heads_by_the_formula() -> None:
    layer = MultiHeadAttention(12, 6, kv_heads=2, mask=qkv.Causal()).double()
    x = randn(3, 5, 12)
    query = layer.query(x).view(3, 5, 6, 2)
    key, value = layer.key(x).view(3, 5, 2, 2), layer.value(x).view(3, 5, 2, 2)
    outputs = []
    for head in range(6):
        q, k, v = query[:, :, head], key[:, :, head // 3], value[:, :, head // 3]
        scores = (q @ k.mT / 2**0.5).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        outputs.append(scores.softmax(-1) @ v)
        assert_close(layer.matrix(x).dense()[:, head], scores.softmax(-1))
    assert_close(layer(x), layer.output(torch.cat(outputs, -1)))


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_any_number_of_batch_dimensions(lead) -> None:
    layer = MultiHeadAttention(8, 2, context_width=6).double()
    x, context = randn(*lead, 4, 8), randn(*lead, 5, 6)
    output, matrix = layer(x, context), layer.matrix(x, context)
    assert output.shape == (*lead, 4, 8)
    assert matrix.shape == (*lead, 2, 4, 5)
    flat = layer(x.reshape(-1, 4, 8), context.reshape(-1, 5, 6))
    assert_close(output, flat.view(output.shape))


@pytest.mark.parametrize(
    "offset", [None, "start", "end", 0, 2, -3, torch.tensor([2, 0, 5]), torch.tensor([4])], ids=str
)
def test_rotary_queries_stand_at_their_offset(offset) -> None:
    layer = MultiHeadAttention(16, 2, rotary=True).double()
    x, rotary = randn(3, 5, 16), Rotary()
    query, key, value = (
        projection(x).unflatten(-1, (2, 8)).transpose(1, 2)
        for projection in (layer.query, layer.key, layer.value)
    )
    numbers = (
        [0] if offset is None or isinstance(offset, str) else torch.as_tensor(offset).reshape(-1)
    )
    first = [int(number) for number in numbers] * (3 // len(numbers))
    turned = torch.cat([rotary(one, n) for one, n in zip(query.split(1), first, strict=True)])
    weights = (turned @ rotary(key).mT / 8**0.5).softmax(-1)
    assert_close(layer.matrix(x, query_offset=offset).dense(), weights)
    right = layer.output((weights @ value).transpose(1, 2).flatten(2))
    assert_close(layer(x, query_offset=offset), right)


def test_an_offset_of_rotary_queries_without_a_batch_is_of_all_or_of_each_head() -> None:
    layer, x = MultiHeadAttention(16, 2, rotary=True).double(), randn(5, 16)
    found = layer.matrix(x, query_offset=torch.tensor([3, 1])).dense()
    for head, offset in enumerate((3, 1)):
        assert_close(found[head], layer.matrix(x, query_offset=offset).dense()[head])


STAGES = {
    "plain": {},
    "grouped": {"kv_heads": 1, "linear_bias": False},
    "window": {"mask": qkv.Window(2, 1)},
    "causal": {"mask": qkv.Causal(), "rotary": True},
    "function": {"mask": lambda cells: (cells.position - cells.col) % 2 == 0},
    "additive": {"score": lambda: qkv.Additive(learnt(4), learnt(4))},
    "bilinear": {"score": lambda: qkv.Bilinear(learnt(4, 4))},
    "alibi": {"bias": lambda: [qkv.ALiBi(learnt(2)), qkv.SoftCap(3.0)]},
    "relative": {"bias": lambda: qkv.RelativeBias(learnt(2, 6))},
    "sink": {"normalizer": lambda: qkv.Softmax(sink=learnt(2))},
    "entmax": {"normalizer": lambda: qkv.Entmax(nn.Parameter(torch.tensor([1.4, 1.7])))},
    "sigmoid": {"normalizer": lambda: qkv.Sigmoid(learnt(2))},
}


def make(name: str, **options) -> MultiHeadAttention:
    torch.manual_seed(1)
    given = {
        key: entry() if callable(entry) and name not in ("function",) else entry
        for key, entry in STAGES[name].items()
    }
    return MultiHeadAttention(8, 2, **given, **options).double()


EVERY = pytest.mark.parametrize("name", STAGES)


@EVERY
def test_self_attention_of_a_ragged_batch_equals_its_sequences(name) -> None:
    layer = make(name)
    check_one_by_one(layer, lambda x, n: layer(x, lengths=n), 8, trim=True)


@pytest.mark.parametrize("name", [name for name in STAGES if name != "causal"])
def test_cross_attention_over_a_ragged_context_equals_its_sequences(name) -> None:
    layer = make(name, context_width=6)
    start = {"query_offset": "start"}

    def call(context: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        x = randn(1, 3, 8).expand(context.shape[0], -1, -1)
        return layer(x, context, lengths=lengths, **start)

    check_one_by_one(layer, call, 6, trim=False)
    x, context = randn(4, 3, 8), ragged(6)
    prepared = layer.prepare(context, lengths=LENGTHS)
    expected = layer(x, context, lengths=LENGTHS, **start)
    assert_close(layer(x, prepared, **start), expected)
    matrix = layer.matrix(x, prepared, **start)
    assert_close(layer.output((matrix @ prepared.value).transpose(1, 2).flatten(2)), expected)


def test_values_of_a_third_source_are_ragged_too() -> None:
    layer = MultiHeadAttention(8, 2, context_width=6, values_width=5).double()
    order = iter(range(4))

    def call(values: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        rows = [next(order)] if lengths is None else [0, 1, 2, 3]
        context = ragged(6)[rows, : values.shape[1]]
        return layer(randn(4, 3, 8)[rows], context, values, lengths=lengths)

    check_one_by_one(layer, call, 5, trim=False)


def test_values_beside_self_attention_are_ragged_too() -> None:
    layer = MultiHeadAttention(8, 2, values_width=5, mask=qkv.Causal()).double()
    order = iter(range(4))

    def call(values: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        rows = [next(order)] if lengths is None else [0, 1, 2, 3]
        return layer(ragged(8)[rows, : values.shape[1]], values=values, lengths=lengths)

    check_one_by_one(layer, call, 5, trim=True)


@pytest.mark.parametrize("way", ["self", "context", "prepared"])
@pytest.mark.parametrize("shape", [(1, 7), (7,)], ids=["one for all", "without a batch"])
def test_a_batch_may_share_its_values(way, shape) -> None:
    layer = MultiHeadAttention(8, 2, values_width=5).double()
    x, values, lengths = randn(7, 7, 8), randn(*shape, 5, seed=8), torch.arange(1, 8)
    right = layer(x, x, values.expand(7, 7, 5), lengths=lengths)
    if way == "self":
        right = qkv.nn.padding.without_padding(right, lengths)
        found = layer(x, values=values, lengths=lengths)
    elif way == "context":
        found = layer(x, x, values, lengths=lengths)
    else:
        found = layer(x, layer.prepare(x, values, lengths))
    assert_close(found, right)


@pytest.mark.parametrize("lengths", [None, torch.tensor([5]), torch.tensor([3, 5])])
@pytest.mark.parametrize("shape", [(3, 5), (2, 4), (2, 6), (4,)], ids=str)
def test_values_of_another_batch_or_length_are_refused(shape, lengths) -> None:
    layer = MultiHeadAttention(8, 2, values_width=6)
    x, values = torch.randn(2, 5, 8), torch.randn(*shape, 6)
    message = r"MultiHeadAttention: values must have the batch and rows .* \(\[2, 5\]\); got \["
    for call in (
        lambda: layer(x, values=values, lengths=lengths),
        lambda: layer(x, x, values, lengths=lengths),
        lambda: layer.matrix(x, x, values, lengths=lengths),
        lambda: layer.prepare(x, values, lengths),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_lengths_of_a_batch_do_not_go_with_more_batches_of_values() -> None:
    layer = MultiHeadAttention(8, 2, values_width=6)
    x, values = torch.randn(2, 5, 8), torch.randn(2, 2, 5, 6)
    assert layer(x, values=values).shape == (2, 2, 5, 8)
    with pytest.raises(ValueError, match="values must have the batch and rows"):
        layer(x, values=values, lengths=torch.tensor([3, 5]))


@EVERY
def test_what_stages_learn_belongs_to_the_layer(name) -> None:
    layer, other = make(name), make(name)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(1.1)
    x = ragged(8)
    before = layer(x, lengths=LENGTHS)
    assert not torch.equal(other(x, lengths=LENGTHS), before)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x, lengths=LENGTHS), before)
    assert torch.equal(copy.deepcopy(layer)(x, lengths=LENGTHS), before)
    expected = {
        "additive": {"score.weight", "score.bias"},
        "bilinear": {"score.weight"},
        "alibi": {"bias.0.slopes"},
        "relative": {"bias.0.table"},
        "sink": {"normalizer.sink"},
        "entmax": {"normalizer.alpha"},
        "sigmoid": {"normalizer.bias"},
    }
    own = {n for n, _ in layer.named_parameters() if n.split(".")[0] not in PROJECTIONS}
    assert own == expected.get(name, set())


PROJECTIONS = {"query", "key", "value", "output"}


def test_a_tensor_in_a_stage_moves_and_is_saved_with_the_layer_but_is_not_learnt() -> None:
    layer = MultiHeadAttention(
        8, 2, bias=[torch.ones(5), qkv.ALiBi.geometric(2)], mask=qkv.Dense(torch.eye(5) > 0) | NOT
    )
    saved = {"bias.0.values", "bias.1.slopes", "mask.left.allowed"}
    assert saved <= set(layer.state_dict())
    assert not saved & set(dict(layer.named_parameters()))
    assert layer.double().bias[1].slopes.dtype is torch.float64
    assert layer.to("meta").mask().left.allowed.is_meta


NOT = ~qkv.Window(1, 1)


def test_a_callable_that_is_a_module_is_a_part_of_the_layer() -> None:
    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(0.5))

        def forward(self, scores, cells):
            return scores - self.slope.to(scores.dtype) * (cells.position - cells.col).abs()

    layer = MultiHeadAttention(8, 2, bias=Slope()).double()
    right = MultiHeadAttention(8, 2, bias=qkv.ALiBi(torch.tensor(0.5))).double()
    assert "bias.0.function.slope" in dict(layer.named_parameters())
    right.load_state_dict(layer.state_dict(), strict=False)
    x = randn(2, 5, 8)
    assert_close(layer(x), right(x))
    layer(x).sin().sum().backward()
    assert layer.bias[0].function.slope.grad.abs() > 0


def test_stages_of_one_call_stand_beside_those_of_the_layer() -> None:
    layer = MultiHeadAttention(8, 2, mask=qkv.Causal(), bias=qkv.SoftCap(2.0)).double()
    both = MultiHeadAttention(
        8, 2, mask=qkv.Causal() & qkv.Window(1, 0), bias=[qkv.SoftCap(2.0), randn(5)]
    ).double()
    both.load_state_dict(layer.state_dict(), strict=False)
    x = randn(2, 5, 8)
    assert_close(layer(x, mask=qkv.Window(1, 0), bias=randn(5)), both(x))
    assert_close(
        layer(x, mask=lambda cells: cells.col >= cells.position - 1, bias=randn(5)), both(x)
    )


def test_dropout_drops_weights_in_training_alone() -> None:
    layer = MultiHeadAttention(8, 2, dropout=0.5).double()
    x = randn(2, 5, 8)
    torch.manual_seed(4)
    found = layer(x)
    torch.manual_seed(4)
    dropped = layer.matrix(x).dropout(0.5).dense()
    value = layer.value(x).unflatten(-1, (2, 4)).transpose(1, 2)
    assert_close(found, layer.output((dropped @ value).transpose(1, 2).flatten(2)))
    assert (layer.matrix(x).dense() > 0).all()
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_under_autocast_it_computes_in_the_half_width_dtype() -> None:
    layer = MultiHeadAttention(16, 2, rotary=True, bias=qkv.ALiBi.geometric(2))
    x = randn(2, 6, 16).float()
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x, lengths=torch.tensor([6, 3]))
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(
        half.float(), layer(x, lengths=torch.tensor([6, 3])), rtol=0.05, atol=0.05
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["causal", "additive", "sink"])
def test_it_compiles_into_one_graph(name) -> None:
    layer = make(name)
    x = ragged(8).nan_to_num().requires_grad_()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, right = compiled(x, lengths=LENGTHS), layer(x, lengths=LENGTHS)
    assert_close(found, right)
    wanted = [x, *layer.parameters()]
    pairs = zip(
        torch.autograd.grad(found.sin().sum(), wanted),
        torch.autograd.grad(right.sin().sum(), wanted),
        strict=True,
    )
    for one, other in pairs:
        assert_close(one, other)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"width": 0}, ValueError, "width must be an int >= 1; got 0"),
        ({"heads": 3}, ValueError, "width must be divisible by heads; got 8 and 3"),
        ({"heads": 4, "kv_heads": 3}, ValueError, "heads must be divisible by kv_heads"),
        ({"heads": 8, "rotary": True}, ValueError, "rotary needs heads of even width; got 1"),
        ({"dropout": 1.0}, ValueError, r"dropout must be in \[0, 1\); got 1.0"),
        ({"dropout": "a"}, ValueError, r"MultiHeadAttention: dropout must be in \[0, 1\); got 'a'"),
        ({"mask": torch.ones(2, 2)}, TypeError, "mask must be a qkv mask"),
        ({"normalizer": "softmax"}, TypeError, "normalizer must be a qkv normalizer"),
        ({"score": qkv.Additive(torch.ones(3))}, ValueError, "weight must be as wide as query"),
    ],
)
def test_a_layer_that_cannot_be_is_refused_when_it_is_made(options, kind, message) -> None:
    with pytest.raises(kind, match=message):
        MultiHeadAttention(**{"width": 8, "heads": 2, **options})


X = torch.zeros(2, 3, 8)


@pytest.mark.parametrize(
    ("layer", "given", "kind", "message"),
    [
        ({}, {"x": X[..., :7]}, ValueError, r"x must be \[B..., L, 8\]; got \[2, 3, 7\]"),
        ({}, {"x": X, "context": X[..., :5]}, ValueError, r"context must be \[B..., L, 8\]"),
        ({}, {"x": X, "context": "X"}, TypeError, "context must be a tensor or what prepare made"),
        ({}, {"x": X, "lengths": torch.ones(3).long()}, ValueError, r"lengths must have one entry"),
        ({}, {"x": X, "lengths": [3, 2]}, TypeError, "lengths must be an integer tensor; got list"),
        ({}, {"x": X, "cache": {}}, TypeError, "cache must be a KeyValueCache; got dict"),
        (
            {},
            {"x": X, "cache": KeyValueCache(), "lengths": torch.ones(2).long()},
            ValueError,
            "a cache goes with x alone; got lengths",
        ),
        (
            {},
            {"x": X, "context": X, "cache": KeyValueCache()},
            ValueError,
            "a cache goes with x alone; got a context",
        ),
        (
            {},
            {"x": X, "cache": KeyValueCache(), "query_offset": 3},
            ValueError,
            "a cache goes with x alone; got query_offset",
        ),
        (
            {"rotary": Rotary()},
            {"x": X, "context": X},
            ValueError,
            "rotary is for self-attention; got a context",
        ),
        (
            {},
            {"x": X, "score": qkv.Dot()},
            TypeError,
            "stages for one call must be among mask, bias and query_offset; got score",
        ),
        (
            {},
            {"x": X, "values": [1.0]},
            TypeError,
            "values must be a floating tensor; got list",
        ),
        (
            {"rotary": True},
            {"x": X, "query_offset": 1.5},
            TypeError,
            "query_offset must be an integer; got float",
        ),
        (
            {"context_width": 6},
            {"x": X},
            ValueError,
            r"x must be \[B..., L, 6\]; got \[2, 3, 8\]",
        ),
    ],
)
def test_what_does_not_fit_is_refused(layer, given, kind, message) -> None:
    with pytest.raises(kind, match=f"MultiHeadAttention: {message}"):
        MultiHeadAttention(8, 2, **layer)(**given)


@pytest.mark.parametrize("name", ["score", "normalizer", "masks"])
def test_matrix_refuses_what_is_no_stage_of_a_call(name) -> None:
    text = f"MultiHeadAttention: stages for one call must be among .*; got {name}"
    with pytest.raises(TypeError, match=text):
        MultiHeadAttention(8, 2).matrix(X, **{name: None})


def test_a_prepared_context_has_its_own_lengths() -> None:
    layer = MultiHeadAttention(8, 2)
    with pytest.raises(ValueError, match="a prepared context has its own lengths"):
        layer(X, layer.prepare(X), lengths=torch.tensor([1, 2]))
