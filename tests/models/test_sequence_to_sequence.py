"""Every encoder with every decoder: padding, causality, steps, and where they look."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch

from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.models import sequence_to_sequence as model_parts
from qkv.models import sequence_to_sequence_config as choices
from qkv.nn.decoders import alignment, recurrent
from qkv.testing import assert_close

CONFIG = SequenceToSequenceConfig(30, 20, width=8, encoder_layers=1, decoder_layers=2, dropout=0.0)
EVERY = [(encoder, decoder) for encoder in choices.ENCODERS for decoder in choices.DECODERS]
PAIRS = pytest.mark.parametrize(("encoder", "decoder"), EVERY)


def make(**changes) -> SequenceToSequence:
    torch.manual_seed(0)
    return SequenceToSequence(replace(CONFIG, **changes)).double()


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(3, 30, (3, 7), generator=generator)
    target = torch.randint(3, 20, (3, 6), generator=generator)
    return source, torch.tensor([7, 2, 4]), target


@PAIRS
def test_a_batch_equals_its_sentences_one_by_one(encoder, decoder) -> None:
    model = make(encoder=encoder, decoder=decoder)
    source, lengths, target = batch()
    together = model(source, lengths, target)
    assert together.shape == (3, 6, 20)
    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = model(source[one, :length], lengths[one], target[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-10, atol=1e-12)


@PAIRS
def test_what_stands_in_padding_changes_neither_output_nor_gradient(encoder, decoder) -> None:
    model = make(encoder=encoder, decoder=decoder)
    source, lengths, target = batch()
    results = []
    for filler in (0, 17):
        source[1, 2:] = filler
        model.zero_grad()
        output = model(source, lengths, target)
        output.square().sum().backward()
        gradients = [torch.zeros(1) if p.grad is None else p.grad for p in model.parameters()]
        results.append([output.detach(), *(gradient.clone() for gradient in gradients)])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


@PAIRS
def test_a_step_at_a_time_equals_all_at_once_and_states_reorder(encoder, decoder) -> None:
    model = make(encoder=encoder, decoder=decoder)
    source, lengths, target = batch()
    whole = model(source, lengths, target)
    _, state = model.decode(target[:, :2], model.start(source, lengths))
    rows = torch.tensor([2, 2, 0])
    state, steps = state.reorder(rows), []
    for column in range(2, 6):
        logits, state = model.decode(target[rows, column : column + 1], state)
        steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole[rows, 2:], rtol=1e-10, atol=1e-12)


@PAIRS
def test_no_step_reads_a_later_target_token(encoder, decoder) -> None:
    model = make(encoder=encoder, decoder=decoder)
    source, lengths, target = batch()
    before = model(source, lengths, target)
    target[:, 4] = (target[:, 4] + 1) % 20
    after = model(source, lengths, target)
    assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(before[:, 4], after[:, 4])


@PAIRS
def test_it_tells_where_it_looks(encoder, decoder) -> None:
    model = make(encoder=encoder, decoder=decoder)
    source, lengths, target = batch()
    found = model.matrices(source, lengths, target)
    layers, heads = (2, 4) if decoder == "attention" else (1, 1)
    assert model.heads == (heads,) * layers
    assert [matrix.shape[1:] for matrix in found] == [(heads, 6, source.shape[1])] * layers
    alone = model.matrices(source[1:2, : lengths[1]], lengths[1:2], target[1:2])
    for matrix, one in zip(found, alone, strict=True):
        weights = matrix.dense()
        assert_close(weights.sum(-1), torch.ones(weights.shape[:-1], dtype=torch.float64))
        assert_close(weights[1, ..., : lengths[1]], one.dense()[0])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        *({"decoder": "gru", "feeding": feeding} for feeding in ("context", "upper", "none")),
        *({"encoder": encoder, "decoder": "gru", "score": "none"} for encoder in ("lstm", "conv")),
    ],
)
def test_every_parameter_learns(changes) -> None:
    model = make(**changes)
    model(*batch()).sin().sum().backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert still == set()


@pytest.mark.parametrize("feeding", choices.FEEDING)
@pytest.mark.parametrize("encoder", ["gru", "attention"])
def test_without_attention_every_step_gets_one_vector_of_the_source(encoder, feeding) -> None:
    model = make(encoder=encoder, decoder="lstm", score="none", feeding=feeding)
    source, lengths, target = batch()
    assert model.matrices(source, lengths, target) == []
    assert model.heads == ()
    contexts = []
    found = type(model.decoder.alignment).forward

    def spy(self, states, context):
        contexts.append(found(self, states, context))
        return contexts[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.decoder.alignment), "forward", spy)
        together = model(source, lengths, target)
    contexts = torch.cat(contexts, dim=1)
    states = model.encoder(model.source_embedding(source) * 8**0.5, lengths)
    for row, length in enumerate(lengths.tolist()):
        if encoder == "gru":  # each direction where it ends
            summary = torch.cat([states[row, length - 1, :4], states[row, 0, 4:]])
        else:
            summary = states[row, :length].mean(0)
        assert_close(contexts[row], summary.expand(6, 8))
        one = slice(row, row + 1)
        alone = model(source[one, :length], lengths[one], target[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-10, atol=1e-12)


def test_choices_reach_the_parts() -> None:
    model = make(encoder="lstm", decoder="gru", score="general", feeding="context", dropout=0.25)
    assert type(model.encoder.forwards[0]) is torch.nn.LSTM
    assert model.decoder.feeding == "context"
    assert "decoder.alignment.score.weight" in model.state_dict()
    assert "decoder.alignment.query.weight" not in model.state_dict()
    assert model.decoder.dropout.p == 0.25
    transformer = make(heads=2, feedforward=12, encoder_layers=3)
    assert len(transformer.encoder.layers) == 3
    assert transformer.decoder.layers[0].attention.heads == 2
    assert transformer.encoder.layers[0].feedforward[0].out_features == 12


def test_what_is_not_told_is_four_heads_the_additive_score_and_input_feeding() -> None:
    layer = make().decoder.layers[0]
    assert (layer.attention.heads, layer.feedforward[0].out_features) == (4, 1024)
    decoder = make(decoder="rnn").decoder
    assert decoder.feeding == "output"
    assert decoder.alignment.query.weight.shape == (8, 8)


def test_the_lists_of_choices_are_those_of_the_layers() -> None:
    assert tuple(model_parts.ENCODERS) == choices.ENCODERS
    assert tuple(model_parts.DECODERS) == choices.DECODERS
    assert choices.FEEDING == recurrent.FEEDING
    # Concat is another name of additive.
    assert {*choices.SCORES, "concat"} == {*alignment.SCORES, "none"}


def test_a_config_survives_being_written() -> None:
    config = replace(CONFIG, decoder="lstm")
    assert SequenceToSequenceConfig(**asdict(config)) == config


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width", 1, r"width must be an int >= 2; got 1"),
        ("heads", 1.5, r"heads must be an int >= 1; got 1.5"),
        (
            "encoder",
            "x",
            r"encoder must be one of attention, hybrid, conv, rnn, lstm, gru; got 'x'",
        ),
        ("decoder", "conv", r"decoder must be one of attention, rnn, lstm, gru; got 'conv'"),
        ("dropout", 1.0, r"dropout must be in \[0, 1\); got 1.0"),
        ("score", "cosine", r"score must be one of additive, general, dot, none; got 'cosine'"),
        ("feeding", "input", r"feeding must be one of output, context, upper, none; got 'input'"),
        ("score", "dot", r"score has no meaning with the decoder attention; got 'dot'"),
        ("feeding", "upper", r"feeding has no meaning with the decoder attention; got 'upper'"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field, value, message) -> None:
    with pytest.raises(ValueError, match=f"SequenceToSequenceConfig: {message}"):
        replace(CONFIG, **{field: value})


@pytest.mark.parametrize("field", ["heads", "feedforward"])
def test_what_belongs_to_self_attention_is_refused_where_there_is_none(field) -> None:
    rule = f"{field} has no meaning with the encoder conv and the decoder gru; got 2"
    with pytest.raises(ValueError, match=rule):
        replace(CONFIG, encoder="conv", decoder="gru", **{field: 2})
    for part in ({"encoder": "hybrid", "decoder": "gru"}, {"encoder": "conv"}):
        assert getattr(replace(CONFIG, **part, **{field: 2}), field) == 2
