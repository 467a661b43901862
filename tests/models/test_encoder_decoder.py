"""The encoder-decoder: padding, causality, steps, and where it looks."""

from dataclasses import replace

import pytest
import torch

from qkv.models import EncoderDecoder, EncoderDecoderConfig

CONFIG = EncoderDecoderConfig(30, 20, embedding=6, hidden=5, attention=4, dropout=0.0)
SCORES = pytest.mark.parametrize("score", ["additive", "dot", "none"])


def make(**changes):
    torch.manual_seed(0)
    return EncoderDecoder(replace(CONFIG, **changes)).double()


def batch():
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(3, 30, (3, 7), generator=generator)
    target = torch.randint(3, 20, (3, 6), generator=generator)
    return source, torch.tensor([7, 2, 4]), target


@SCORES
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_batch_equals_its_sentences_one_by_one(score, cell, layers):
    model = make(score=score, cell=cell, layers=layers)
    source, lengths, target = batch()
    together = model(source, lengths, target)
    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = model(source[one, :length], lengths[one], target[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-10, atol=1e-12)


@SCORES
def test_what_stands_in_padding_changes_neither_output_nor_gradient(score):
    model = make(score=score)
    source, lengths, target = batch()
    results = []
    for filler in (0, 17):
        source[1, 2:] = filler
        model.zero_grad()
        output = model(source, lengths, target)
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in model.parameters())])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


@SCORES
def test_a_step_at_a_time_equals_all_at_once(score):
    model = make(score=score, cell="lstm")
    source, lengths, target = batch()
    state, steps = model.start(source, lengths), []
    for column in range(target.shape[1]):
        logits, state = model.decode(target[:, column : column + 1], state)
        steps.append(logits)
    whole = model(source, lengths, target)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-10, atol=1e-12)


def test_no_step_reads_a_later_target_token():
    model = make()
    source, lengths, target = batch()
    before = model(source, lengths, target)
    target[:, 4] = (target[:, 4] + 1) % 20
    after = model(source, lengths, target)
    torch.testing.assert_close(before[:, :4], after[:, :4], rtol=0, atol=0)
    assert not torch.equal(before[:, 4], after[:, 4])


def test_the_context_is_the_alignment_times_the_encoder_states():
    """Additive scores by Bahdanau's formula, spelt out beside the model."""
    model = make()
    source, lengths, target = batch()
    row, length = 2, 4
    state = model.start(source[row : row + 1, :length], lengths[row : row + 1])
    encoded = state.encoded
    asked, _, _ = model._ask(target[row : row + 1], state)
    scores = torch.tanh(model.query(asked[0])[:, None] + encoded.key[0]) @ model.weight
    weights = scores.softmax(-1)
    [matrix] = model.matrices(source[row, :length], target[row])
    assert matrix.shape == (1, 6, 4)
    torch.testing.assert_close(matrix.dense()[0], weights, rtol=1e-10, atol=1e-12)
    context = model._context(encoded, asked)
    torch.testing.assert_close(context[0], weights @ encoded.value[0], rtol=1e-10, atol=1e-12)


def test_without_attention_there_is_no_alignment_and_the_rest_is_as_large():
    plain, attentive = make(score="none"), make()
    source, _, target = batch()
    assert plain.matrices(source[0], target[0]) == []
    names = {name: p.shape for name, p in plain.named_parameters()}
    others = {name: p.shape for name, p in attentive.named_parameters()}
    assert {name: others[name] for name in names} == names
    assert others.keys() - names.keys() == {"weight", "key.weight", "key.bias", "query.weight"}


def test_every_parameter_learns():
    for score in ("additive", "dot", "none"):
        model = make(score=score)
        model(*batch()).square().sum().backward()
        still = [name for name, p in model.named_parameters() if not p.grad.abs().sum() > 0]
        assert still == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden", 0, r"hidden must be an int >= 1; got 0"),
        ("layers", 1.5, r"layers must be an int >= 1; got 1.5"),
        ("cell", "conv", r"cell must be one of gru, lstm, rnn; got 'conv'"),
        ("score", "cosine", r"score must be one of additive, dot, none; got 'cosine'"),
        ("dropout", 1.0, r"dropout must be in \[0, 1\); got 1.0"),
    ],
)
def test_a_config_that_cannot_be_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **{field: value})
