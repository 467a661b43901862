"""Beam search against greedy search and against trying everything."""

import itertools
import math

import pytest
import torch

from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.models.sequence_to_sequence_config import DECODERS, ENCODERS, FEEDING, SCORES
from qkv.tasks.tokens import END, FIRST, PADDING, START
from qkv.tasks.translation import search
from qkv.tasks.translation.search import beam_search


def recurrent():
    config = SequenceToSequenceConfig(
        12, 7, encoder="gru", decoder="gru", feeding="upper", width=8, encoder_layers=1,
        decoder_layers=1,
    )  # fmt: skip
    return SequenceToSequence(config)


def transformer():
    config = SequenceToSequenceConfig(12, 7, width=8, heads=2, encoder_layers=1, decoder_layers=2)
    return SequenceToSequence(config)


def caring(make):
    torch.manual_seed(5)
    model = make().double().eval()
    with torch.no_grad():  # an untrained model is indifferent; make it care
        for parameter in model.parameters():
            parameter *= 3
    return model


@pytest.fixture(params=[recurrent, transformer])
def model(request):
    return caring(request.param)


def sources():
    source = torch.tensor([[3, 4, 5, 2], [6, 2, 0, 0], [9, 8, 2, 0]])
    return source, torch.tensor([4, 2, 3])


def run(model, source, lengths, **options):
    options = {"beam": 3, "length_penalty": 1.0, "unknown": FIRST} | options
    with torch.no_grad():
        return [found[0] for found in beam_search(model, source, lengths, **options)]


def log_probability(model, source, lengths, tokens):
    """Of a whole translation, with what is never written left out of no sum."""
    with torch.no_grad():
        logits = model(source, lengths, torch.tensor([[START, *tokens[:-1]]]))[0]
    return logits.log_softmax(-1)[range(len(tokens)), tokens].sum().item()


def test_the_score_is_the_model_s_log_probability_per_token(model):
    source, lengths = sources()
    for row, found in enumerate(run(model, source, lengths)):
        one = source[row : row + 1, : lengths[row]], lengths[row : row + 1]
        total = log_probability(model, *one, found.tokens)
        assert found.log_probability == pytest.approx(total, abs=1e-9)
        assert found.score == pytest.approx(total / len(found.tokens), abs=1e-9)


def runs_again(tokens):
    """Whether the last run of tokens stands a second time."""
    last = tokens[-search.RUN :]
    each = [tokens[start : start + search.RUN] for start in range(len(tokens) - search.RUN + 1)]
    return len(last) == search.RUN and each.count(last) > 1


def test_a_beam_of_one_is_greedy(model):
    source, lengths = sources()
    for row, found in enumerate(run(model, source, lengths, beam=1)):
        one, length = source[row : row + 1, : lengths[row]], lengths[row : row + 1]
        written = []
        while written[-1:] != [END] and len(written) < search.longest_target(int(length)) - 1:
            with torch.no_grad():
                logits = model(one, length, torch.tensor([[START, *written]]))[0, -1]
            logits[[PADDING, START, FIRST]] = -torch.inf
            while runs_again([*written, int(logits.argmax())]):  # no source repeats itself here
                logits[int(logits.argmax())] = -torch.inf
            written.append(int(logits.argmax()))
        assert found.tokens == (written if written[-1] == END else [*written, END])


def test_a_wide_beam_finds_the_best_of_all(model, monkeypatch):
    """Four tokens and the end, at most three before it: few enough to try every translation."""
    monkeypatch.setattr(search, "longest_target", lambda length: 4)
    source, lengths = sources()
    allowed = [n for n in range(7) if n not in (PADDING, START, END, FIRST)]
    every = [
        [*written, END]
        for count in range(4)
        for written in itertools.product(allowed, repeat=count)
    ]
    for row in range(3):
        one = source[row : row + 1, : lengths[row]], lengths[row : row + 1]
        totals = [log_probability(model, *one, tokens) for tokens in every]
        for penalty in (0.0, 1.0):
            ranks = [total / len(t) ** penalty for total, t in zip(totals, every, strict=True)]
            [found] = run(model, *one, beam=200, length_penalty=penalty)
            assert found.tokens == every[ranks.index(max(ranks))]


def test_marks_of_the_source_are_written_once_and_missed_at_a_price(model, monkeypatch):
    monkeypatch.setattr(search, "longest_target", lambda length: 4)
    source, lengths = sources()
    marks = [(9, 5), (8, 4)]  # both in the last sentence alone
    allowed = [n for n in range(7) if n not in (PADDING, START, END, FIRST)]
    chosen = set()
    for lost in (0.0, 1.0, 100.0):
        monkeypatch.setattr(search, "LOST", lost)
        for row in range(3):
            one = source[row : row + 1, : lengths[row]], lengths[row : row + 1]
            asked = {target: row == 2 for _, target in marks}
            every = [
                [*written, END]
                for count in range(4)
                for written in itertools.product(allowed, repeat=count)
                if all(written.count(target) <= times for target, times in asked.items())
            ]
            totals = [log_probability(model, *one, tokens) for tokens in every]
            missing = [sum(t not in tokens for t in asked if asked[t]) for tokens in every]
            compared = [
                (total - lost * count) / len(tokens)
                for total, count, tokens in zip(totals, missing, every, strict=True)
            ]
            best = compared.index(max(compared))
            [found] = run(model, *one, beam=200, marks=marks)
            assert found.tokens == every[best]
            assert found.log_probability == pytest.approx(totals[best], abs=1e-9)
            chosen.add((row, lost, missing[best]))
    assert (2, 100.0, 0) in chosen


def test_a_batch_finds_what_its_sentences_find_alone(model):
    assert_batch_equals_one_by_one(model)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_and_decoder_searches_a_batch_as_one_by_one(encoder, decoder):
    config = SequenceToSequenceConfig(
        12, 7, encoder=encoder, decoder=decoder, width=8, encoder_layers=1, decoder_layers=2
    )
    assert_batch_equals_one_by_one(caring(lambda: SequenceToSequence(config)))


@pytest.mark.parametrize("feeding", FEEDING)
@pytest.mark.parametrize("score", SCORES)
def test_every_recurrent_decoder_searches_a_batch_as_one_by_one(score, feeding):
    config = SequenceToSequenceConfig(
        12, 7, encoder="rnn", decoder="lstm", width=8, score=score, feeding=feeding
    )
    assert_batch_equals_one_by_one(caring(lambda: SequenceToSequence(config)))


def assert_batch_equals_one_by_one(model):
    source, lengths = sources()
    together = run(model, source, lengths)
    for row, found in enumerate(together):
        [alone] = run(model, source[row : row + 1, : lengths[row]], lengths[row : row + 1])
        assert alone.tokens == found.tokens
        assert alone.log_probability == pytest.approx(found.log_probability, abs=1e-9)


def test_what_never_ends_is_ended_and_what_is_banned_never_written(model, monkeypatch):
    monkeypatch.setattr(search, "RUN", 99)  # or three tokens would run out of what is new
    with torch.no_grad():
        model.output_bias[END] = -50.0
        model.output_bias[[PADDING, START, FIRST]] = 50.0
    source, lengths = sources()
    for length, found in zip(lengths.tolist(), run(model, source, lengths), strict=True):
        assert len(found.tokens) == search.longest_target(length)
        assert found.tokens[-1] == END
        assert not {PADDING, START, FIRST} & set(found.tokens)
    [free, *_] = run(model, source, lengths, unknown=None)
    assert FIRST in free.tokens


def test_a_model_of_nan_is_said(model):
    with torch.no_grad():
        model.output_bias[:] = torch.nan
    with pytest.raises(ValueError, match="probabilities are not finite"):
        run(model, *sources())


def test_the_length_penalty_decides_between_short_and_long(model):
    source, lengths = sources()
    short = run(model, source, lengths, length_penalty=0.0, beam=8)
    long = run(model, source, lengths, length_penalty=3.0, beam=8)
    assert sum(len(s.tokens) for s in short) < sum(len(found.tokens) for found in long)


class Looping:
    """A model that writes 4, 5, 6, 4, 5, 6, ... whatever it reads, and hardly ever an end."""

    def start(self, source, lengths):
        return self

    def spread(self, beam):
        return self

    def reorder(self, rows):
        return self

    def decode(self, target, state):
        logits = torch.full((*target.shape, 7), -9.0)
        follows = torch.where((target >= 4) & (target < 6), target + 1, 4)
        return logits.scatter(-1, follows.unsqueeze(-1), 0.0), self


@pytest.mark.parametrize("beam", [1, 4])
def test_a_loop_is_stopped_but_what_the_source_repeats_may_be_repeated(beam):
    plain, repeating = torch.tensor([[3, 4, 5, 6, 7, 8, 9, 2]]), torch.tensor([[3, 4] * 6 + [2]])
    for source, most in ((plain, 1), (repeating, 6)):
        [found] = run(
            Looping(), source, torch.tensor([source.shape[1]]), beam=beam, length_penalty=2.2
        )
        runs = [
            tuple(found.tokens[n : n + search.RUN]) for n in range(len(found.tokens) - search.RUN)
        ]
        assert max(map(runs.count, runs)) <= most
    assert max(map(runs.count, runs)) > 2


def test_a_power_beyond_the_mean_counts_up_to_a_length_by_the_source():
    """-1 per token for ever: more tokens are better up to the bound, and no better beyond."""
    ranks = [search.rank(-1.0 * tokens, tokens, 10, 2.0) for tokens in range(1, 40)]
    bound = 10 + search.REWARDED
    assert ranks[:bound] == sorted(ranks[:bound])
    assert ranks[0] < ranks[bound - 1]
    assert ranks[bound:] == pytest.approx([ranks[bound - 1]] * len(ranks[bound:]))
    assert -math.exp(-search.rank(-6.0, 3, 10, 0.5)) == pytest.approx(-6 / 3**0.5)
    assert -math.exp(-search.rank(-6.0, 3, 10, 2.0)) == pytest.approx(-6 / 9)
    assert search.rank(-6.0, 30, 30, 400.0) > search.rank(-6.0, 29, 30, 400.0)


def test_a_translation_has_a_length_by_its_source():
    assert [search.longest_target(n) for n in (1, 52)] == [12, 114]
