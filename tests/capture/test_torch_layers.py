"""torch's own layers, their fast paths included: the same bits, and the weights that follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import qkv

X = torch.randn(3, 7, 64, generator=torch.Generator().manual_seed(0))
MEMORY = torch.randn(3, 10, 64, generator=torch.Generator().manual_seed(1))
PADDED = torch.tensor([7, 4, 6])[:, None] <= torch.arange(7)
CAUSAL = torch.ones(7, 7).triu(1).bool()
HIDDEN = torch.zeros(3, 7).masked_fill(PADDED, -torch.inf)
pytestmark = pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested tensors", "ignore:enable_nested_tensor is True"
)

GIVEN = {
    "plain": {},
    "padded": {"src_key_padding_mask": PADDED},
    "causal": {"mask": CAUSAL},
    "both": {"mask": CAUSAL, "src_key_padding_mask": PADDED},
    "floating": {"src_key_padding_mask": HIDDEN},
}


def encoder(**options) -> nn.TransformerEncoder:
    torch.manual_seed(2)
    options = {"batch_first": True, **options}
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 96, **options), 2).eval()


def by_hand(layer: nn.TransformerEncoderLayer, x: Tensor, given: dict[str, Tensor]) -> Tensor:
    """The weights of a layer of which `x` is the input, from its parameters."""
    x = layer.norm1(x) if layer.norm_first else x
    weight, bias = layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias
    query, key, _ = (x @ weight.mT + bias).unflatten(-1, (3, 4, 16)).unbind(-3)
    scores = query.transpose(1, 2) @ key.transpose(1, 2).mT / 4
    if "mask" in given:
        scores = scores.masked_fill(CAUSAL, -torch.inf)
    if "src_key_padding_mask" in given:
        scores = scores.masked_fill(PADDED[:, None, None], -torch.inf)
    return scores.softmax(-1)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", GIVEN)
def test_an_encoder(name, gradients, norm_first) -> None:
    model, given = encoder(norm_first=norm_first, activation="gelu"), GIVEN[name]
    with torch.set_grad_enabled(gradients):
        alone = model(X, **given)
        with qkv.observe(model) as capture:
            output = model(X, **given)
        assert torch.equal(output, alone)
        assert not capture.missed
        assert [call.module for call in capture.calls] == [
            "layers.0.self_attn",
            "layers.1.self_attn",
        ]
        real = ~PADDED[:, None, :, None] if "src_key_padding_mask" in given else torch.tensor(True)
        right = by_hand(model.layers[0], X, given)
        assert_close(capture.calls[0].matrix.dense() * real, right.detach() * real)
    for call in capture.calls:
        fast = "nn.TransformerEncoderLayer, fast path"
        assert call.function == ("F.scaled_dot_product_attention" if gradients else fast)
        assert call.kind == "self"
        assert call.residual is not None
        assert call.residual < 1e-5


def test_padding_of_the_fast_path_sees_nothing() -> None:
    """Its places are not there: the layers are given nested tensors."""
    with torch.no_grad(), qkv.observe(encoder()) as capture:
        pass
    model = encoder()
    with torch.no_grad(), qkv.observe(model, heads=[2]) as capture:
        model(X, src_key_padding_mask=PADDED)
    weights = capture.calls[0].matrix.dense()
    assert weights.shape == (3, 1, 7, 7)
    assert (weights.sum(-1)[:, 0] > 0.5).equal(~PADDED)
    assert capture.calls[0].residual < 1e-5


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("options", [{}, {"key_padding_mask": PADDED}, {"attn_mask": CAUSAL}])
def test_attention_alone(options, gradients, need_weights) -> None:
    torch.manual_seed(3)
    model = nn.MultiheadAttention(64, 4, batch_first=True).eval()
    how = {"need_weights": need_weights, "average_attn_weights": False, **options}
    with torch.set_grad_enabled(gradients):
        alone, right = model(X, X, X, **how)
        with qkv.observe(model) as capture:
            output, _ = model(X, X, X, **how)
    assert torch.equal(output, alone)
    (call,) = capture.calls
    assert call.kind == "self"
    assert call.residual < 1e-5
    if need_weights:
        assert_close(call.matrix.dense(), right.detach())
    assert call.materialised == call.function.endswith("softmax")


class Asks(nn.Module):
    """Calls torch's function by itself, and has no number of heads."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(64, 4)

    def forward(self, query, key, need_weights):
        own = self.inner
        weights = own.in_proj_weight, own.in_proj_bias
        output = own.out_proj.weight, own.out_proj.bias
        return torch.nn.functional.multi_head_attention_forward(
            *(query, key, key, 64, 4, *weights, None, None, False, 0.0, *output),
            need_weights=need_weights,
            average_attn_weights=False,
        )


class AsksAttention(Asks):
    """Is called attention."""


@pytest.mark.parametrize("kind", [Asks, AsksAttention])
@pytest.mark.parametrize("need_weights", [False, True])
def test_torchs_function_called_by_others(kind, need_weights) -> None:
    torch.manual_seed(3)
    model, query = kind().eval(), X.transpose(0, 1)
    for key, named in ((query, "self"), (query.clone(), None), (query[:5], "cross")):
        alone, right = model(query, key, True)
        with torch.no_grad(), qkv.observe(model) as capture:
            output, _ = model(query, key, need_weights)
        assert_close(output, alone.detach())
        (call,) = capture.calls
        assert_close(call.matrix.dense(), right.detach())
        assert named in (call.kind, None)


@pytest.mark.parametrize("heads", [[2], [3, 0], [0, 1, 2, 3]])
@pytest.mark.parametrize("padded", [False, True])
def test_chosen_heads_of_the_fast_path_have_their_own_masks(heads, padded) -> None:
    attention = nn.MultiheadAttention(64, 4, batch_first=True).eval()
    hidden = torch.rand(12, 7, 7, generator=torch.Generator().manual_seed(3)) > 0.6
    hidden[:, range(7), range(7)] = False
    options = {"attn_mask": hidden, **({"key_padding_mask": PADDED} if padded else {})}
    with torch.no_grad():
        with qkv.observe(attention, heads=heads) as capture:
            attention(X, X, X, need_weights=False, **options)
        _, weights = attention.train()(X, X, X, average_attn_weights=False, **options)
    (call,) = capture.calls
    assert call.function.endswith("fast path")
    seen = ~PADDED[:, None, :, None] if padded else True
    difference = (call.matrix.dense() - weights[:, heads]) * seen
    assert float(difference.nan_to_num().abs().max()) < 1e-5


@pytest.mark.parametrize("option", ["add_bias_kv", "add_zero_attn"])
def test_queries_stand_at_their_own_keys_where_others_are_added_behind(option) -> None:
    attention = nn.MultiheadAttention(64, 4, batch_first=True, **{option: True}).eval()
    with torch.no_grad(), qkv.observe(attention) as capture:
        _, weights = attention(X, X, X, average_attn_weights=False)
    (call,) = capture.calls
    assert call.matrix.offset == 0
    assert_close(call.matrix.dense(), weights, rtol=0, atol=1e-6)
    same = qkv.heads(capture)[0, 1].figures.share["same"]
    assert_close(same, float(weights[:, 1].diagonal(dim1=-2, dim2=-1).mean()), rtol=1e-5, atol=0)


def test_self_and_cross_of_a_decoder() -> None:
    torch.manual_seed(4)
    layer = nn.TransformerDecoderLayer(64, 4, 96, batch_first=True)
    model = nn.TransformerDecoder(layer, 1).eval()
    with qkv.observe(model) as capture:
        model(X, MEMORY, tgt_mask=CAUSAL, memory_key_padding_mask=torch.zeros(3, 10).bool())
    kinds = [("layers.0.self_attn", "self"), ("layers.0.multihead_attn", "cross")]
    assert [(call.module, call.kind) for call in capture.calls] == kinds
    assert [call.shape for call in capture.calls] == [(3, 4, 7, 7), (3, 4, 7, 10)]
    with qkv.observe(model) as capture:
        model(X, X.clone())
    assert [call.kind for call in capture.calls] == ["self", "cross"]


def test_training_of_an_encoder_draws_the_same_numbers() -> None:
    model = encoder(dropout=0.3).train()

    def step():
        torch.manual_seed(5)
        model.zero_grad()
        output = model(X, src_key_padding_mask=PADDED)
        output.square().sum().backward()
        return [output, *(parameter.grad.clone() for parameter in model.parameters())]

    alone = step()
    with qkv.observe(model) as capture:
        observed = step()
    assert all(torch.equal(a, b) for a, b in zip(alone, observed, strict=True))
    assert [call.residual for call in capture.calls] == [None, None]
    assert_close(capture.calls[0].matrix.dense()[0], by_hand(model.layers[0], X, {})[0].detach())
