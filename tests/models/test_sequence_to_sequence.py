"""Every encoder with every decoder: padding, causality, steps, and where they look."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch

from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.models.sequence_to_sequence import DECODERS, ENCODERS
from qkv.testing import assert_close

CONFIG = SequenceToSequenceConfig(
    30, 20, width=8, encoder_layers=1, decoder_layers=2, heads=2, feedforward=12, dropout=0.0
)
EVERY = [(encoder, decoder) for encoder in ENCODERS for decoder in DECODERS]
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
    source, _, target = batch()
    found = model.matrices(source[1, :5], target[1])
    layers, heads = (2, 2) if decoder == "attention" else (1, 1)
    assert [matrix.shape for matrix in found] == [(heads, 6, 5)] * layers
    for matrix in found:
        assert_close(matrix.dense().sum(-1), torch.ones(heads, 6, dtype=torch.float64))


@pytest.mark.parametrize(
    "changes",
    [{}, *({"decoder": "gru", "feeding": feeding} for feeding in ("context", "upper", "none"))],
)
def test_every_parameter_learns(changes) -> None:
    model = make(**changes)
    model(*batch()).sin().sum().backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert still == set()


def test_choices_reach_the_parts() -> None:
    model = make(encoder="lstm", decoder="gru", score="general", feeding="context", dropout=0.25)
    assert type(model.encoder.layers.cell) is torch.nn.LSTM
    assert model.decoder.feeding == "context"
    assert "decoder.alignment.score.weight" in model.state_dict()
    assert "decoder.alignment.query.weight" not in model.state_dict()
    assert model.decoder.dropout.p == 0.25
    transformer = make(heads=4, encoder_layers=3)
    assert len(transformer.encoder.layers) == 3
    assert transformer.decoder.layers[0].attention.heads == 4
    assert transformer.encoder.layers[0].feedforward[0].out_features == 12


def test_a_config_survives_being_written() -> None:
    config = replace(CONFIG, decoder="lstm")
    assert SequenceToSequenceConfig(**asdict(config)) == config


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width", 0, r"width must be an int >= 1; got 0"),
        ("heads", 1.5, r"heads must be an int >= 1; got 1.5"),
        (
            "encoder",
            "x",
            r"encoder must be one of attention, hybrid, conv, rnn, lstm, gru; got 'x'",
        ),
        ("decoder", "conv", r"decoder must be one of attention, rnn, lstm, gru; got 'conv'"),
        ("dropout", 1.0, r"dropout must be in \[0, 1\); got 1.0"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field, value, message) -> None:
    with pytest.raises(ValueError, match=f"SequenceToSequenceConfig: {message}"):
        replace(CONFIG, **{field: value})


@pytest.mark.parametrize(("field", "value"), [("score", "cosine"), ("feeding", "input")])
def test_a_choice_that_the_decoder_does_not_know_is_refused(field, value) -> None:
    with pytest.raises(ValueError, match=f"RecurrentDecoder: {field} must be .* got '{value}'"):
        make(decoder="gru", **{field: value})
