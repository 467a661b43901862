"""Encoders: one interface, padding never seen, and what they are made of."""

from __future__ import annotations

import copy

import pytest
import torch
from ragged import LENGTHS, check_one_by_one, ragged
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import qkv
from qkv.nn import (
    ConvEncoder,
    HybridEncoder,
    LearntPositions,
    RecurrentEncoder,
    SelfAttentionEncoder,
)
from qkv.nn.recurrent import CELLS
from qkv.nn.transformer import TransformerLayer
from qkv.testing import assert_close

WIDTH = 8
ENCODERS = {
    "rnn": lambda: RecurrentEncoder(5, WIDTH, cell="rnn", bidirectional=False),
    "lstm": lambda: RecurrentEncoder(5, WIDTH, cell="lstm", layers=2),
    "gru": lambda: RecurrentEncoder(5, WIDTH, cell="gru"),
    "attention": lambda: SelfAttentionEncoder(5, WIDTH, 2, 2),
    "rotary": lambda: SelfAttentionEncoder(5, WIDTH, 2, 1, positions="rotary"),
    "learnt": lambda: SelfAttentionEncoder(5, WIDTH, 2, 1, positions=LearntPositions(WIDTH, 9)),
    "window": lambda: SelfAttentionEncoder(5, WIDTH, 2, 2, mask=qkv.Window(2, 1), kv_heads=1),
    "stages": lambda: SelfAttentionEncoder(
        5,
        WIDTH,
        2,
        2,
        positions="none",
        score=qkv.Additive(nn.Parameter(torch.randn(4))),
        bias=qkv.RelativeBias(nn.Parameter(torch.randn(2, 6))),
        normalizer=qkv.Entmax15(),
    ),
    "hybrid": lambda: HybridEncoder(5, WIDTH, 2, 1),
    "conv": lambda: ConvEncoder(5, WIDTH, 3),
}
EVERY = pytest.mark.parametrize("name", ENCODERS)


@EVERY
def test_a_batch_equals_its_sequences_one_by_one_and_padding_is_never_seen(name) -> None:
    encoder = ENCODERS[name]().double()
    check_one_by_one(encoder, encoder, encoder.inputs, trim=True)


@pytest.mark.parametrize(
    ("options", "packs"),
    [
        ({}, True),
        ({"mask": qkv.Causal(), "bias": qkv.SoftCap(5.0)}, True),
        ({"score": qkv.Cosine(), "normalizer": qkv.Entmax15()}, True),
        ({"positions": "rotary"}, False),
        ({"mask": qkv.Prefix(2)}, False),
        ({"mask": lambda cells: cells.col < 2}, False),
        ({"bias": torch.zeros(4, 1, 7, 7)}, False),
        ({"score": lambda query, key, cells: query @ key.mT}, False),
    ],
)
def test_in_training_nothing_is_computed_for_padding_unless_a_stage_may_tell(
    options, packs, monkeypatch
) -> None:
    encoder = SelfAttentionEncoder(5, WIDTH, 2, 1, **options).double()
    x, read = ragged(5), []
    whole = TransformerLayer.forward
    monkeypatch.setattr(
        TransformerLayer, "forward",
        lambda layer, x, **more: (read.append(list(x.shape)), whole(layer, x, **more))[1],
    )  # fmt: skip
    found = encoder(x, LENGTHS)
    assert_close(found, encoder.eval()(x, LENGTHS))
    x = x.nan_to_num()
    encoder.train()(x, torch.tensor([7]))  # no padding
    encoder(x, torch.tensor([7, 7, 7, 6]))  # hardly any
    encoder(x, torch.zeros(4, dtype=torch.int64))  # nothing else
    padded = [4, 7, WIDTH]
    assert read == [[1, int(LENGTHS.sum()), WIDTH] if packs else padded, *[padded] * 4]


@EVERY
def test_states_are_as_wide_as_they_say_and_an_empty_sequence_has_none(name) -> None:
    encoder = ENCODERS[name]().double()
    x = ragged(encoder.inputs)
    lengths = LENGTHS.clone()
    lengths[1] = 0
    states = encoder(x, lengths)
    assert states.shape == (4, 7, encoder.width)
    assert not states[1].any()
    assert_close(states[[0, 2, 3]], encoder(x, LENGTHS)[[0, 2, 3]])


@EVERY
def test_matrices_are_of_every_layer_that_attends(name) -> None:
    encoder = ENCODERS[name]().double()
    layers = {"rnn": 0, "lstm": 0, "gru": 0, "conv": 0, "attention": 2, "window": 2, "stages": 2}
    found = encoder.matrices(ragged(encoder.inputs), LENGTHS)
    assert [matrix.shape for matrix in found] == [(4, 2, 7, 7)] * layers.get(name, 1)
    for matrix in found:
        weights = matrix.dense()
        for row, length in enumerate(LENGTHS.tolist()):
            assert not weights[row, :, :, length:].any()
            alone = encoder.matrices(ragged(encoder.inputs)[row : row + 1, :length])
            index = found.index(matrix)
            assert_close(weights[row, :, :length, :length], alone[index].dense()[0])


@EVERY
def test_weights_go_through_a_state_dict_and_copies_are_apart(name) -> None:
    encoder, other = ENCODERS[name]().double(), ENCODERS[name]().double()
    other.load_state_dict(encoder.state_dict())
    x = ragged(encoder.inputs)
    assert torch.equal(encoder(x, LENGTHS), other(x, LENGTHS))
    copied = copy.deepcopy(encoder)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1.5)
    assert torch.equal(copied(x, LENGTHS), other(x, LENGTHS))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_self_attention_encoder_is_torchs_pre_norm_encoder(activation) -> None:
    layer = nn.TransformerEncoderLayer(
        WIDTH, 2, 16, 0.0, activation, batch_first=True, norm_first=True, dtype=torch.float64
    )
    torchs = nn.TransformerEncoder(
        layer, 2, nn.LayerNorm(WIDTH, dtype=torch.float64), enable_nested_tensor=False
    )
    ours = SelfAttentionEncoder(
        WIDTH, WIDTH, 2, 2, positions="none", feedforward=16, activation=activation
    ).double()
    with torch.no_grad():
        for parameter in torchs.parameters():
            parameter.normal_()
    for our, their in zip(ours.layers, torchs.layers, strict=True):
        our.attention = qkv.nn.MultiHeadAttention.from_torch(their.self_attn)
        our.attention_norm, our.feedforward_norm = their.norm1, their.norm2
        our.feedforward[0], our.feedforward[3] = their.linear1, their.linear2
    ours.norm = torchs.norm
    x = ragged(WIDTH).nan_to_num()
    padding = torch.arange(7) >= LENGTHS.unsqueeze(1)
    right = torchs(x, src_key_padding_mask=padding).masked_fill(padding.unsqueeze(-1), 0)
    torch.testing.assert_close(ours(x, LENGTHS), right, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_recurrent_encoder_is_torchs(cell, bidirectional) -> None:
    encoder = RecurrentEncoder(5, WIDTH, cell=cell, layers=2, bidirectional=bidirectional).double()
    torchs, weights = torchs_recurrent(encoder, cell, 5)
    x = ragged(5)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    right = pad_packed_sequence(torchs(packed)[0], batch_first=True, total_length=x.shape[1])[0]
    found = encoder(x, LENGTHS)
    assert_close(found, right)
    assert_close(encoder(x[:1, : LENGTHS[0]]), right[:1, : LENGTHS[0]])
    weight = torch.randn_like(right)
    for ours, theirs in weights:
        mine, torch_gives = (
            torch.autograd.grad((made * weight).sum(), parameter, retain_graph=True)[0]
            for made, parameter in ((found, ours), (right, theirs))
        )
        assert_close(mine, torch_gives)


def torchs_recurrent(
    encoder: RecurrentEncoder, cell: str, inputs: int
) -> tuple[nn.Module, list[tuple[nn.Parameter, nn.Parameter]]]:
    """Torch's own layers with the same weights, and these in pairs."""
    hidden = encoder.width // 2 if encoder.bidirectional else encoder.width
    layers, both = len(encoder.forwards), encoder.bidirectional
    torchs = CELLS[cell](inputs, hidden, layers, batch_first=True, bidirectional=both).double()
    pairs = []
    for ways, suffix in ((encoder.forwards, ""), (encoder.backwards, "_reverse")):
        for number, way in enumerate(ways):
            for name, ours in way.named_parameters():
                theirs = getattr(torchs, f"{name.removesuffix('_l0')}_l{number}{suffix}")
                with torch.no_grad():
                    theirs.copy_(ours)
                pairs.append((ours, theirs))
    assert len(pairs) == len(list(torchs.parameters()))
    return torchs, pairs


def test_the_hybrid_is_an_lstm_below_self_attention() -> None:
    encoder = HybridEncoder(5, WIDTH, 2, 1, cell="lstm").double()
    x = ragged(5).nan_to_num()
    assert isinstance(encoder.below.forwards[0], nn.LSTM)
    below = encoder.below(x)
    layer = encoder.above.layers[0]
    states = below + layer.attention(layer.attention_norm(below))
    states = states + layer.feedforward(layer.feedforward_norm(states))
    assert_close(encoder(x), encoder.above.norm(states))


def test_the_convolutional_encoder_by_its_formula() -> None:
    encoder = ConvEncoder(WIDTH, WIDTH, 1, kernel=3).double()
    x = ragged(WIDTH).nan_to_num()
    padded = nn.functional.pad(x, (0, 0, 1, 1))
    weight, bias = encoder.layers[0].weight, encoder.layers[0].bias
    hidden = sum(padded[:, i : i + 7] @ weight[:, :, i].mT for i in range(3)) + bias
    right = (x + hidden[..., :WIDTH] * hidden[..., WIDTH:].sigmoid()) / 2**0.5
    assert_close(encoder(x), right)


def test_layers_have_parameters_of_their_own_in_their_stages() -> None:
    encoder = ENCODERS["stages"]()
    first, second = (layer.attention for layer in encoder.layers)
    assert first.score.weight is not second.score.weight
    names = dict(encoder.named_parameters())
    assert {"layers.0.attention.score.weight", "layers.1.attention.bias.0.table"} <= set(names)


@EVERY
def test_under_autocast_it_is_near_what_it_is_without(name) -> None:
    encoder, x = ENCODERS[name](), ragged(5).float()
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(x, LENGTHS)
        half.float().sin().sum().backward()
    assert half.dtype in (torch.bfloat16, torch.float32)
    torch.testing.assert_close(half.float(), encoder(x, LENGTHS), rtol=0.1, atol=0.1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["window", "conv"])
def test_it_compiles_into_one_graph(name) -> None:
    encoder, x = ENCODERS[name](), ragged(5).float().nan_to_num()
    compiled = torch.compile(encoder, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, LENGTHS), encoder(x, LENGTHS), rtol=1e-4, atol=1e-5)


def test_dropout_is_at_work_in_training_alone() -> None:
    for encoder in (
        RecurrentEncoder(5, WIDTH, layers=2, dropout=0.5),
        SelfAttentionEncoder(5, WIDTH, 2, dropout=0.5),
        SelfAttentionEncoder(5, WIDTH, 2, attention_dropout=0.5),
        HybridEncoder(5, WIDTH, 2, dropout=0.5),
        ConvEncoder(5, WIDTH, dropout=0.5),
    ):
        x = ragged(5).float()
        assert not torch.equal(encoder(x, LENGTHS), encoder(x, LENGTHS))
        encoder.eval()
        assert torch.equal(encoder(x, LENGTHS), encoder(x, LENGTHS))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecurrentEncoder(0, 8), r"RecurrentEncoder: inputs must be an int >= 1; got 0"),
        (lambda: RecurrentEncoder(5, 7), r"width of two directions must be even; got 7"),
        (lambda: RecurrentEncoder(5, 8, cell="qrnn"), r"cell must be one of gru, lstm, rnn"),
        (lambda: ConvEncoder(5, 8, kernel=2), r"kernel must be an odd number >= 1; got 2"),
        (lambda: SelfAttentionEncoder(5, 8, 2, positions="x"), r"positions must be a module or"),
        (lambda: SelfAttentionEncoder(5, 8, 2, layers=0), r"layers must be an int >= 1; got 0"),
        (lambda: SelfAttentionEncoder(5, 8, 2, activation="x"), r"activation must be one of relu"),
        (lambda: SelfAttentionEncoder(5, 8, 3), r"width must be divisible by heads; got 8 and 3"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("x", "lengths", "kind", "message"),
    [
        (torch.zeros(2, 3, 4), None, ValueError, r"x must be \[B..., L, 5\]; got \[2, 3, 4\]"),
        (torch.zeros(3, 5), None, ValueError, r"x must be \[B, L, 5\]; got \[3, 5\]"),
        (torch.zeros(2, 3, 5).int(), None, TypeError, "x must be a floating tensor; got"),
        (torch.zeros(2, 3, 5), torch.ones(3).long(), ValueError, r"lengths must have one entry"),
        (torch.zeros(2, 3, 5), torch.ones(2), TypeError, r"lengths must be an integer tensor"),
    ],
)
@EVERY
def test_what_does_not_fit_is_refused(name, x, lengths, kind, message) -> None:
    encoder = ENCODERS[name]()
    with pytest.raises(kind, match=f"{type(encoder).__name__}: {message}"):
        encoder(x, lengths)


@EVERY
@pytest.mark.parametrize("lengths", [None, torch.zeros(3, dtype=torch.int64)])
def test_sequences_of_no_row_have_no_states_and_a_summary_of_zeros(name, lengths) -> None:
    encoder = ENCODERS[name]()
    x = torch.zeros(3, 0, 5, requires_grad=True)
    states = encoder(x, lengths)
    assert states.shape == (3, 0, WIDTH)
    states.sum().backward()
    assert not any(p.grad is None or p.grad.any() for p in encoder.parameters())
    assert all(matrix.shape == (3, 2, 0, 0) for matrix in encoder.matrices(x, lengths))
    assert torch.equal(encoder.summary(states, lengths), torch.zeros(3, WIDTH))
    padded = encoder(torch.ones(3, 4, 5), torch.zeros(3, dtype=torch.int64))
    assert torch.equal(encoder.summary(padded, torch.zeros(3).long()), torch.zeros(3, WIDTH))


@EVERY
def test_a_summary_sees_no_padding(name) -> None:
    states = torch.full((3, 4, WIDTH), torch.nan)
    assert torch.equal(
        ENCODERS[name]().summary(states, torch.zeros(3).long()), torch.zeros(3, WIDTH)
    )


@EVERY
def test_a_summary_is_one_vector_of_real_states_alone(name) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS[name]()
    x = torch.randn(3, 6, 5)
    lengths = torch.tensor([6, 2, 4])
    states = encoder(x, lengths)
    found = encoder.summary(states, lengths)
    for row, length in enumerate(lengths.tolist()):
        real = states[row, :length]
        if name == "rnn":
            expected = real[-1]
        elif name in ("lstm", "gru"):  # forwards it ends at the last row, backwards at the first
            expected = torch.cat([real[-1, : WIDTH // 2], real[0, WIDTH // 2 :]])
        else:
            expected = real.mean(0)
        assert_close(found[row], expected)
        assert_close(encoder.summary(states[row : row + 1, :length])[0], expected)
