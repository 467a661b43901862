"""Decoders: whole or step by step, ragged, reordered, and by the formulas of their sources."""

from __future__ import annotations

import pytest
import torch
from ragged import LENGTHS, check_one_by_one, ragged
from torch import nn

import qkv
from qkv.nn import LearntPositions, RecurrentDecoder, SelfAttentionDecoder
from qkv.testing import assert_close

DECODERS = {
    "luong": lambda: RecurrentDecoder(5, 8, 6, score="concat", dropout=0.0),
    "luong dot": lambda: RecurrentDecoder(5, 6, 6, score="dot", cell="lstm", layers=2),
    "luong general": lambda: RecurrentDecoder(5, 8, 6, score="general", cell="rnn"),
    "bahdanau": lambda: RecurrentDecoder(5, 8, 6, feeding="context", attention_width=3),
    "bahdanau lstm": lambda: RecurrentDecoder(5, 8, 6, feeding="context", cell="lstm", layers=2),
    "at once": lambda: RecurrentDecoder(5, 8, 6, feeding="none", score="general"),
    "above": lambda: RecurrentDecoder(5, 8, 6, feeding="upper", cell="lstm", layers=2),
    "cosine": lambda: RecurrentDecoder(5, 6, 6, score=qkv.Cosine(4.0)),
    "attention": lambda: SelfAttentionDecoder(5, 8, 6, 2, 2),
    "rotary": lambda: SelfAttentionDecoder(8, 8, 6, 2, 1, positions="rotary", kv_heads=1),
    "learnt": lambda: SelfAttentionDecoder(5, 8, 6, 2, 1, positions=LearntPositions(8, 6)),
    "window": lambda: SelfAttentionDecoder(5, 8, 6, 2, 2, mask=qkv.Window(2, 0)),
    "stages": lambda: SelfAttentionDecoder(
        5, 8, 6, 2, 2, positions="none", bias=qkv.RelativeBias(nn.Parameter(torch.randn(2, 6)))
    ),
}
EVERY = pytest.mark.parametrize("name", DECODERS)


def make(name: str) -> nn.Module:
    return DECODERS[name]().double()


def written(decoder: nn.Module, batch: int = 4, length: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(batch, length, decoder.inputs, generator=generator, dtype=torch.float64)


@EVERY
def test_a_batch_equals_its_sequences_one_by_one_and_padding_is_never_seen(name) -> None:
    decoder = make(name)

    def call(states: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        rows = list(range(4)) if lengths is not None else [next(order)]
        return decoder(written(decoder)[rows], decoder.start(states, lengths))[0]

    order = iter(range(4))
    check_one_by_one(decoder, call, 6, trim=False)


@EVERY
@pytest.mark.parametrize("steps", [[1] * 6, [2, 3, 1]])
def test_steps_equal_the_whole(name, steps) -> None:
    decoder = make(name)
    x, start = written(decoder), decoder.start(ragged(6), LENGTHS)
    whole, _ = decoder(x, start)
    state, outputs = start, []
    for part in x.split(steps, dim=1):
        output, state = decoder(part, state)
        outputs.append(output)
    assert whole.shape == (4, 6, decoder.width)
    assert_close(torch.cat(outputs, dim=1), whole)


@EVERY
def test_no_output_reads_a_later_step(name) -> None:
    decoder = make(name)
    x, state = written(decoder), decoder.start(ragged(6), LENGTHS)
    before, _ = decoder(x, state)
    x[:, 4, 0] += 1
    after, _ = decoder(x, state)
    assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4], before[:, 4])


@EVERY
def test_a_reordered_state_goes_on_as_those_sequences_and_the_first_stays(name) -> None:
    decoder = make(name)
    x, start = written(decoder), decoder.start(ragged(6), LENGTHS)
    whole, _ = decoder(x, start)
    _, state = decoder(x[:, :3], start)
    index = torch.tensor([2, 0, 2])
    found, _ = decoder(x[index, 3:], state.reorder(index))
    assert_close(found, whole[index, 3:])
    again, _ = decoder(x[:, 3:], state)
    assert_close(again, whole[:, 3:])
    fresh, _ = decoder(x[index], start.reorder(index))
    assert_close(fresh, whole[index])


@EVERY
def test_a_spread_state_is_that_of_copies_and_goes_on_as_a_beam(name) -> None:
    """Three hypotheses of each sequence; then some of them, and whole sequences, are left out."""
    decoder = make(name)
    x, start = written(decoder, 12), decoder.start(ragged(6), LENGTHS)
    copies = torch.arange(4).repeat_interleave(3)
    whole, _ = decoder(x, start.reorder(copies))
    found, _ = decoder(x, start.spread(3))
    assert_close(found, whole)
    _, state = decoder(x[:, :3], start.spread(3))
    for index in ([0, 0, 2, 3, 4, 5, 7, 7, 7, 10, 9, 11], [5, 5, 3, 9, 10, 9]):
        rest, _ = decoder(x[index, 3:], state.reorder(torch.tensor(index)))
        assert_close(rest, whole[index, 3:])
    first, one = decoder(x[::3, :3], start)
    later, _ = decoder(x[:, 3:], one.spread(3))
    right, _ = decoder(torch.cat([x[copies * 3, :3], x[:, 3:]], dim=1), start.spread(3))
    assert_close(later, right[:, 3:])
    assert_close(first, whole[::3, :3])
    with pytest.raises(ValueError, match="the 3 copies of a sequence must stay side by side"):
        state.reorder(torch.tensor([0, 1, 3]))
    with pytest.raises(ValueError, match="the 3 copies of a sequence must stay side by side"):
        state.reorder(torch.tensor([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="the state must not be spread; got one of 3 copies"):
        decoder.matrices(x, state)


@EVERY
def test_matrices_say_where_each_output_looked(name) -> None:
    """Also in the middle of a sequence; and nobody looks at padding."""
    decoder = make(name)
    x, start = written(decoder), decoder.start(ragged(6), LENGTHS)
    whole = decoder.matrices(x, start)
    attends = {"attention": 2, "window": 2, "stages": 2}
    heads = 2 if isinstance(decoder, SelfAttentionDecoder) else 1
    assert [matrix.shape for matrix in whole] == [(4, heads, 6, 7)] * attends.get(name, 1)
    _, state = decoder(x[:, :3], start)
    for matrix, rest in zip(whole, decoder.matrices(x[:, 3:], state), strict=True):
        weights = matrix.dense()
        assert_close(rest.dense(), weights[:, :, 3:])
        assert_close(weights.sum(-1), torch.ones(4, heads, 6, dtype=torch.float64))
        for row, length in enumerate(LENGTHS.tolist()):
            assert not weights[row, ..., length:].any()


def by_hand(decoder: RecurrentDecoder, x: torch.Tensor, states: torch.Tensor, score) -> list:
    """One sequence, one GRU layer, step by step with torch's GRUCell: outputs and weights."""
    cell = nn.GRUCell(decoder.lower.cell.input_size, decoder.width).double()
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cell.load_state_dict({name: getattr(decoder.lower.cell, f"{name}_l0") for name in names})
    hidden = torch.tanh(decoder.bridge(states.mean(0, keepdim=True)))
    output = torch.zeros(1, decoder.width, dtype=torch.float64)
    found = []
    for row in x.split(1):
        if decoder.feeding == "context":
            weights = score(hidden, states).softmax(-1)
            hidden = cell(torch.cat([row, weights @ states], -1), hidden)
        else:
            hidden = cell(torch.cat([row, output], -1), hidden)
            weights = score(hidden, states).softmax(-1)
        output = torch.tanh(decoder.readout(torch.cat([hidden, weights @ states], -1)))
        found.append((output, weights))
    return [torch.cat(part) for part in zip(*found, strict=True)]


@pytest.mark.parametrize("feeding", ["output", "context"])
@pytest.mark.parametrize("score", ["additive", "concat", "general", "dot"])
def test_luongs_and_bahdanaus_decoders_by_hand(feeding, score) -> None:
    decoder = RecurrentDecoder(5, 6, 6, score=score, feeding=feeding).double()
    alignment = decoder.alignment

    def additive(query, key):
        hidden = torch.tanh(alignment.query(query)[:, None] + alignment.key(key))
        return hidden @ alignment.score.weight

    formulas = {
        "additive": additive,
        "concat": additive,
        "general": lambda query, key: query @ alignment.score.weight @ key.mT,
        "dot": lambda query, key: query @ key.mT,
    }
    x, states = written(decoder, 1), ragged(6)[:1]
    outputs, weights = by_hand(decoder, x[0], states[0], formulas[score])
    start = decoder.start(states)
    assert_close(decoder(x, start)[0][0], outputs)
    assert_close(decoder.matrices(x, start)[0].dense()[0, 0], weights)


def test_the_upper_layer_reads_states_and_contexts() -> None:
    decoder = RecurrentDecoder(5, 8, 6, feeding="upper", score="general").double()
    x, states = written(decoder), ragged(6).nan_to_num()
    first = torch.tanh(decoder.bridge(states.mean(1)))
    below, _ = decoder.lower.cell(x, first.unsqueeze(0))
    context = (below @ decoder.alignment.score.weight @ states.mT).softmax(-1) @ states
    above, _ = decoder.upper.cell(torch.cat([below, context], -1))
    right = torch.tanh(decoder.readout(torch.cat([above, context], -1)))
    assert_close(decoder(x, decoder.start(states))[0], right)


def test_the_self_attention_decoder_is_torchs_pre_norm_decoder() -> None:
    layer = nn.TransformerDecoderLayer(
        8, 2, 16, 0.0, batch_first=True, norm_first=True, dtype=torch.float64
    )
    torchs = nn.TransformerDecoder(layer, 2, nn.LayerNorm(8, dtype=torch.float64))
    ours = SelfAttentionDecoder(8, 8, 8, 2, 2, positions="none", feedforward=16).double()
    with torch.no_grad():
        for parameter in torchs.parameters():
            parameter.normal_()
    for our, their in zip(ours.layers, torchs.layers, strict=True):
        source = qkv.nn.MultiHeadAttention.from_torch(their.self_attn).state_dict()
        our.attention.load_state_dict(source)
        our.context_attention = qkv.nn.MultiHeadAttention.from_torch(their.multihead_attn)
        our.attention_norm, our.context_norm = their.norm1, their.norm2
        our.feedforward_norm = their.norm3
        our.feedforward[0], our.feedforward[3] = their.linear1, their.linear2
    ours.norm = torchs.norm
    x, states = written(ours), ragged(8)
    padding = torch.arange(7) >= LENGTHS.unsqueeze(1)
    later = torch.ones(6, 6).triu(1).bool()
    right = torchs(
        x,
        states.nan_to_num(),
        tgt_mask=later,
        memory_key_padding_mask=padding,
        tgt_is_causal=True,
    )
    found, _ = ours(x, ours.start(states, LENGTHS))
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-11)


def test_a_window_is_one_beside_the_causal_mask() -> None:
    decoder = SelfAttentionDecoder(5, 8, 6, 2, 1, positions="none", mask=qkv.Window(1, 3)).double()
    x, start = written(decoder), decoder.start(ragged(6), LENGTHS)
    before, _ = decoder(x, start)
    x[:, 2, 0] += 1
    after, _ = decoder(x, start)
    moved = (before - after).abs().amax((0, 2)) > 1e-9
    assert moved.tolist() == [False, False, True, True, False, False]


@EVERY
def test_under_autocast_it_is_near_what_it_is_without(name) -> None:
    decoder = DECODERS[name]()
    x, states = written(decoder).float(), ragged(6).float()
    with torch.autocast("cpu", torch.bfloat16):
        half, _ = decoder(x, decoder.start(states, LENGTHS))
        half.float().sin().sum().backward()
    right, _ = decoder(x, decoder.start(states, LENGTHS))
    torch.testing.assert_close(half.float(), right, rtol=0.1, atol=0.1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in decoder.parameters())


def test_dropout_is_at_work_in_training_alone() -> None:
    for decoder in (
        RecurrentDecoder(5, 8, 6, dropout=0.5),
        SelfAttentionDecoder(5, 8, 6, 2, dropout=0.5),
    ):
        x, states = written(decoder).float(), ragged(6).float()
        for training in (True, False):
            decoder.train(training)
            one, other = (decoder(x, decoder.start(states, LENGTHS))[0] for _ in range(2))
            assert torch.equal(one, other) == (not training)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecurrentDecoder(5, 8, 6, score="x"), "RecurrentDecoder: score must be a score"),
        (lambda: RecurrentDecoder(5, 8, 6, score="dot"), "key width must equal query width"),
        (lambda: RecurrentDecoder(5, 8, 6, feeding="x"), "feeding must be one of output, context"),
        (lambda: RecurrentDecoder(5, 8, 0), "context_width must be an int >= 1; got 0"),
        (
            lambda: RecurrentDecoder(5, 8, 8, score="dot", attention_width=4),
            "RecurrentDecoder: attention_width must be left out for a score without a hidden "
            "layer; got 4 with 'dot'",
        ),
        (
            lambda: RecurrentDecoder(5, 8, 8, score=qkv.Dot(), attention_width=4),
            "attention_width must be left out for a score without a hidden layer; got 4 with Dot",
        ),
        (lambda: RecurrentDecoder(5, 8, 6, cell="x"), "RecurrentDecoder: cell must be one of gru"),
        (lambda: SelfAttentionDecoder(5, 8, 6, 2, 0), "layers must be an int >= 1; got 0"),
    ],
)
def test_a_decoder_that_cannot_be_is_refused(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@EVERY
def test_an_encoder_without_states_is_looked_at_for_nothing(name) -> None:
    decoder = make(name)
    x = written(decoder, 2, 3)
    empty, _ = decoder(x, decoder.start(torch.zeros(2, 0, 6).double()))
    padded = decoder.start(torch.full((2, 4, 6), torch.nan).double(), torch.zeros(2).long())
    assert_close(empty, decoder(x, padded)[0])


@pytest.mark.parametrize("name", ["luong", "attention"])
def test_what_does_not_fit_is_refused(name) -> None:
    decoder = make(name)
    states = ragged(6)
    kind = type(decoder).__name__
    with pytest.raises(ValueError, match=rf"{kind}: states must be \[B..., L, 6\]; got \[4, 7, 5"):
        decoder.start(states[..., :5])
    with pytest.raises(ValueError, match=rf"{kind}: states must be \[B, Lk, 6\]; got \[7, 6\]"):
        decoder.start(states[0])
    with pytest.raises(ValueError, match=rf"{kind}: lengths must have one entry per first batch"):
        decoder.start(states, LENGTHS[:3])
    with pytest.raises(ValueError, match=rf"{kind}: x must be \[B, Lq, 5\] with Lq >= 1"):
        decoder(torch.zeros(4, 0, 5), decoder.start(states, LENGTHS))
    with pytest.raises(ValueError, match=rf"{kind}: x must be for the batch of its state \(4\)"):
        decoder(torch.zeros(3, 2, 5).double(), decoder.start(states, LENGTHS))
