"""The next best translations beside the best."""

import pytest
import torch

from conftest import make_task
from qkv.tasks.translation import Translator
from qkv.tasks.translation.search import rank

SENTENCE = "My old friends live in Beijing now."


def test_they_come_in_the_order_of_the_search_with_texts_of_their_own(translator):
    [found] = translator.translate([SENTENCE], n_best=4)
    every = (found, *found.others)
    assert len(every) == 4
    assert [found.text] == [one.text for one in translator.translate([SENTENCE])]
    assert len({one.text for one in every}) == 4
    length = len(found.source_tokens)
    ranks = [rank(one.score * len(one.tokens), len(one.tokens), length, 1.0) for one in every]
    assert ranks == sorted(ranks, reverse=True)


def test_each_is_what_it_would_be_if_it_were_given(translator):
    [found] = translator.translate([SENTENCE], n_best=3)
    for one in found.others:
        given = translator.align(SENTENCE, one.text)
        assert given.score == pytest.approx(one.score, abs=1e-5)
        torch.testing.assert_close(one.alignment.dense(), given.alignment.dense())
        assert (one.source, one.others, one.sentences) == (SENTENCE, (), (one,))


def test_unless_asked_for_there_are_none_and_the_best_stays(translator):
    texts = [SENTENCE, " ", "We sleep. I drink tea."]
    plain, several = translator.translate(texts), translator.translate(texts, n_best=5)
    for one, other in zip(plain, several, strict=True):
        assert one.others == ()
        assert (one.source, one.text, one.tokens) == (other.source, other.text, other.tokens)
    assert several[1].others == ()


def test_of_several_sentences_the_second_is_put_together_from_their_second(translator):
    [found] = translator.translate([" We sleep.\n I drink tea. "], n_best=3)
    one, two = found.sentences
    for place in range(2):
        assert found.others[place].text == f"{one.others[place].text}\n {two.others[place].text}"
        assert found.others[place].sentences == (one.others[place], two.others[place])
    assert found.source == found.others[0].source


def test_a_sentence_that_has_no_more_gives_its_last(translator, monkeypatch):
    def few(model, source, *arguments, **options):
        from qkv.tasks.translation.search import beam_search

        every = beam_search(model, source, *arguments, **options)
        return [some[: 1 + row] for row, some in enumerate(every)]

    monkeypatch.setattr("qkv.tasks.translation.translator.beam_search", few)
    [found] = translator.translate(["We sleep. They see the dog."], n_best=5)
    assert [len(one.others) for one in found.sentences] == [0, 1]
    assert [one.text for one in found.others] == ["我们睡觉。" + found.sentences[1].others[0].text]


def test_hypotheses_of_one_text_count_once(translator):
    """The same word in one piece or in several is one translation."""
    task = make_task()
    torch.manual_seed(0)
    spaced = Translator(task.model(), task.source, task.source, 60)
    for found in spaced.translate(["We sleep.", "I see the dog."], beam=8, n_best=8):
        texts = [one.text for one in (found, *found.others)]
        assert len(texts) == len(set(texts))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_best": 0}, "n_best must be an int >= 1; got 0"),
        ({"n_best": 2.0}, "n_best must be an int >= 1; got 2.0"),
        ({"n_best": 6}, "n_best must be at most beam; got 6 and 5"),
        ({"n_best": 2, "beam": 1}, "n_best must be at most beam; got 2 and 1"),
    ],
)
def test_how_many_is_a_count_up_to_the_beam(translator, options, message):
    with pytest.raises(ValueError, match=f"Translator.translate: {message}"):
        translator.translate([SENTENCE], **options)
