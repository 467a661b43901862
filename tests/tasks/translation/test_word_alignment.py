"""Words linked by where tokens look, and looks that are chosen."""

import json
import sys
from dataclasses import replace

import pytest
import torch

import qkv
from conftest import make_task
from qkv.models import SequenceToSequence
from qkv.tasks.translation import Translator, forced
from qkv.tasks.translation.links import WordAlignment
from qkv.tasks.translation.looks import Look
from qkv.testing import assert_close

SENTENCE, TARGET = "We drink tea.", "我们喝茶。"
SIZES = {
    "encoder": "attention", "decoder": "attention", "decoder_layers": 2, "heads": 2, "feeding": None
}  # fmt: skip


@pytest.fixture(scope="module")
def transformer():
    """A translator that is not indifferent, though it has learnt nothing."""
    torch.manual_seed(3)
    task = make_task(**SIZES)
    model = task.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 2
    return Translator(model, task.source, task.target, 60)


@pytest.fixture(scope="module")
def given(transformer):
    return transformer.align(SENTENCE, TARGET)


def looking(translation, *words):
    """The translation of one sentence with a decoder whose only head looks at the words with these
    numbers, one for each token and the end mark."""
    rows = torch.full((len(words) + 1, len(translation.source_tokens)), -9.0)
    for row, word in enumerate(words):
        rows[row, translation.source_spans[word][0]] = 9.0
    matrix = qkv.attention(rows.unsqueeze(0), torch.eye(rows.shape[1]).unsqueeze(0))
    return replace(translation, look=lambda: [matrix])


def test_a_character_is_linked_with_the_word_that_its_token_looks_at(translator):
    found = looking(translator.align(SENTENCE, TARGET), 0, 0, 1, 2, 2, 0)
    aligned = found.word_alignment()
    assert aligned.source == ("We", "drink", "tea.")
    assert aligned.target == tuple(TARGET)
    assert aligned.links == ((0, 0), (0, 1), (1, 2), (2, 3), (2, 4))
    assert str(aligned) == "0-0 0-1 1-2 2-3 2-4"
    assert str(WordAlignment(("a",), (), ())) == ""


def test_the_words_of_pieces_are_whole_on_either_side():
    source, target = "My old friends live in Beijing now.", " We drink  tea."
    task = make_task()
    sizes = replace(task.model().config, target_tokens=task.source.size)
    given = Translator(SequenceToSequence(sizes), task.source, task.source, 60).align(
        source, target
    )
    of_token = [target[:stop].split() for _, stop in task.source.offsets(target)]
    numbers = [(1, 4, 6)[len(words) - 1] for words in of_token]
    aligned = looking(given, *numbers, 0).word_alignment()
    assert (aligned.source, aligned.target) == (tuple(source.split()), ("We", "drink", "tea."))
    assert aligned.links == ((1, 0), (4, 1), (6, 2))


def test_translations_and_given_ones_agree_whatever_the_white_space(transformer):
    for text in ("We drink tea.", "  We \tdrink\u00a0 tea. \n", "We dri\u00adnk\u200b tea."):
        [found] = transformer.translate([text], beam=2)
        aligned = found.word_alignment()
        assert aligned.source == tuple(text.split())
        assert aligned.target == tuple("".join(found.text.split()))
        assert aligned == transformer.align(text, found.text).word_alignment()
        assert {j for _, j in aligned.links} == set(range(len(aligned.target)))


def test_the_links_of_a_text_are_those_of_its_sentences(transformer):
    text = "\u200b We sleep.\n\u200b\n I drink  tea.They sleep. "
    [found] = transformer.translate([text], beam=2)
    aligned = found.word_alignment()
    assert aligned.source == tuple(text.split())
    one, two, three = (part.word_alignment() for part in found.sentences)
    second = len(one.target)
    third = second + len(two.target)
    expected = {(i + 1, j) for i, j in one.links}  # the character that nobody sees is a word
    expected |= {(i + 4, j + second) for i, j in two.links}
    expected |= {(i + 6, j + third) for i, j in three.links}
    assert set(aligned.links) == expected


def test_words_are_those_that_were_typed_whatever_stands_outside_or_is_meant(transformer):
    text = "1. Ｗｅ ﬁnd 10\u00a0000 non\u2011old 🎉\n• A wo-\nman"
    [found] = transformer.translate([text], beam=2)
    one, two = (part.word_alignment() for part in found.sentences)
    assert one.source == ("We", "find", "10000", "non-old")
    assert two.source == ("A", "woman")
    aligned = found.word_alignment()
    assert aligned.source == (
        "1.", "Ｗｅ", "ﬁnd", "10", "000", "non\u2011old", "🎉", "•", "A", "woman",
    )  # fmt: skip
    places = [1, 2, 3, 5]  # of the first number's token, which begins the first word of it
    second = len("1.") + len(one.target) + len("🎉•")
    expected = {(places[i], j + len("1.")) for i, j in one.links}
    expected |= {(i + 8, j + second) for i, j in two.links}
    assert {(3 if i == 4 else i, j) for i, j in aligned.links} == expected


def test_marks_that_a_text_brings_along_and_things_carried_do_not_shift_words():
    task = make_task(**SIZES)
    carrying = Translator(task.model(), task.source, task.target, 60, carries=True)
    text = "\ue000 We see AB12_x now."
    given = carrying.align(text, "我们看见AB12_x。")
    last = looking(given, 1, 1, 2, 2, *[3] * (len(given.tokens) - 4)).word_alignment()
    assert last.source == tuple(text.split())
    assert "".join(last.target) == "我们看见AB12_x。"
    assert last.links[:4] == ((1, 0), (1, 1), (2, 2), (2, 3))


def test_segments_are_words_that_rjieba_finds(translator):
    pytest.importorskip("rjieba")
    given = translator.align("They live in Beijing now.", "他们 现在住在北京。")
    found = looking(given, 0, 0, 0, 4, 4, 1, 2, 3, 3, 3, 5).word_alignment(segment=True)
    assert found.target == ("他们", "现在", "住", "在", "北京", "。")
    assert {(0, 0), (4, 1), (1, 2), (2, 3), (3, 4)} <= set(found.links)
    undecodable = translator.align("They sleep.", "他们\udce9睡觉。").word_alignment(segment=True)
    assert undecodable.target == ("他们", "\udce9", "睡觉", "。")


def test_without_the_segmenter_its_extra_is_named(given, monkeypatch):
    monkeypatch.setitem(sys.modules, "rjieba", None)
    with pytest.raises(ImportError, match=r"extra `segmentation`\): pip install rjieba"):
        given.word_alignment(segment=True)
    assert given.word_alignment().target == tuple(TARGET)


def test_chosen_looks_are_the_decoders_own_or_their_means(given):
    weights = torch.stack([matrix.dense() for matrix in given.matrices])
    for layer in (0, 1, -1):
        for head in (0, 1, -2):
            for when, rows in (("write", slice(-1)), ("read", slice(1, None))):
                chosen = given.alignment_by(layer, head, when)
                assert chosen.shape == given.alignment.shape
                assert torch.equal(chosen.dense(), given.matrices[layer][head].dense()[rows])
        assert_close(given.alignment_by(layer).dense(), weights[layer].mean(0)[:-1])
    assert_close(given.alignment_by().dense(), given.alignment.dense())
    assert_close(given.alignment_by(when="read").dense(), weights.mean((0, 1))[1:])


def test_links_follow_the_looks_that_are_chosen(given):
    by = {
        (layer, head, when): given.word_alignment(layer=layer, head=head, when=when).links
        for layer in (None, 0, 1) for head in (None, 0, 1) for when in ("write", "read")
        if layer is not None or head is None
    }  # fmt: skip
    assert len(set(by.values())) > 5
    assert given.word_alignment(layer=1).links == by[1, None, "write"]
    assert given.word_alignment(when="read").links == by[None, None, "read"]
    assert given.word_alignment().links == by[None, None, "write"]


def test_what_aligns_best_is_kept_with_the_model_and_taken_unless_told(transformer, tmp_path):
    best = Look(1, 0, "read")
    parts = transformer.model, transformer.source, transformer.target, 60
    Translator(*parts, aligner=best).save(tmp_path)
    copy = Translator.load(tmp_path)
    given = copy.align(SENTENCE, TARGET)
    assert copy.aligner == best
    assert given.word_alignment() == given.word_alignment(layer=1, head=0, when="read")
    assert given.word_alignment(layer=0) == transformer.align(SENTENCE, TARGET).word_alignment(
        layer=0
    )
    transformer.save(tmp_path)
    assert "aligner" not in json.loads((tmp_path / "config.json").read_text())
    assert Translator.load(tmp_path).aligner == Look()


@pytest.mark.parametrize(
    ("aligner", "message"),
    [
        ({"layer": 2}, "layer must be one of 0 to 1; got 2"),
        ({"layer": 0, "head": -3}, "head must be one of 0 to 1; got -3"),
        ({"where": 1}, "where"),
        ([1], "not a translator that qkv can load"),
    ],
)
def test_a_folder_that_names_a_look_that_is_none_is_refused(
    transformer, tmp_path, aligner, message
):
    transformer.save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"aligner": aligner}))
    with pytest.raises(ValueError, match=message):
        Translator.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 2}, "layer must be one of 0 to 1; got 2"),
        ({"layer": -3}, "layer must be one of 0 to 1; got -3"),
        ({"layer": True}, "layer must be an int; got True"),
        ({"layer": 0, "head": 2}, "head must be one of 0 to 1; got 2"),
        ({"head": 1}, "a head is one of a layer, which must be given; got head 1"),
        ({"when": "later"}, "when must be 'write' or 'read'; got 'later'"),
    ],
)
def test_a_look_that_is_none_is_refused_by_name(given, tmp_path, options, message):
    for method in ("alignment_by", "word_alignment"):
        with pytest.raises(ValueError, match=f"^Translation.{method}: {message}"):
            getattr(given, method)(**options)
    with pytest.raises(ValueError, match=f"^Translation.picture: {message}"):
        given.picture(tmp_path / "a.png", **options)


def test_a_model_without_attention_and_several_sentences_are_said(translator):
    task = make_task(score="none")
    plain = Translator(task.model(), task.source, task.target, 60)
    [found] = plain.translate([SENTENCE])
    for method in (found.word_alignment, found.alignment_by):
        with pytest.raises(ValueError, match="this model has no attention"):
            method()
    [text] = translator.translate(["We sleep. I drink tea."])
    with pytest.raises(ValueError, match="only a sentence has an alignment: see `sentences`"):
        text.alignment_by()
    [empty] = translator.translate([" "])
    assert empty.word_alignment() == WordAlignment((), (), ())


def test_many_pairs_are_aligned_together_as_each_by_itself(transformer):
    pairs = [(SENTENCE, TARGET), ("I sleep. They read a book.", "我睡觉。 他们读一本书。")]
    pairs += [("My old friends live in Beijing now.", "我"), ["We", "我们" * 9], (" Ä 🦆", "鸭�")]
    calls = []
    handle = transformer.model.register_forward_hook(lambda *_: calls.append(1))
    together = transformer.align_pairs(iter(pairs), batch=3)
    handle.remove()
    assert len(calls) == 2
    for (source, target), one in zip(pairs, together, strict=True):
        alone = transformer.align(source, target)
        assert (one.source, one.text) == (source, target)
        assert (one.tokens, one.source_tokens) == (alone.tokens, alone.source_tokens)
        assert one.score == pytest.approx(alone.score, abs=1e-5)
        torch.testing.assert_close(one.alignment.dense(), alone.alignment.dense())
        assert one.word_alignment() == alone.word_alignment()
    assert transformer.align_pairs([]) == []


def test_pairs_that_are_none_are_refused_before_any_work(transformer):
    with pytest.raises(ValueError, match="align_pairs: target must be a str with words"):
        transformer.align_pairs([(SENTENCE, TARGET), (SENTENCE, " ")])
    with pytest.raises(TypeError, match="must be pairs of source and target; got 'ab'"):
        transformer.align_pairs(["ab"])
    with pytest.raises(ValueError, match="align_pairs: batch must be an int >= 1"):
        transformer.align_pairs([], batch=0)


def test_long_pairs_come_in_smaller_batches():
    pairs = [("a", "b" * length) for length in (3000, 10, 5000, 9000, 4000, 20)]
    assert forced.groups(pairs, 8) == [[1, 5], [0, 4], [2], [3]]
    assert forced.groups(pairs[1:2] * 5, 2) == [[0, 1], [2, 3], [4]]
    assert forced.groups([], 2) == []
