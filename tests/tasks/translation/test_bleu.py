"""BLEU as sacrebleu computes it."""

import pytest
import sacrebleu
import torch

from qkv.tasks.translation.bleu import bleu, by_source, compare
from qkv.tasks.translation.pairs import Pair


def test_chinese_is_measured_in_characters_and_the_rest_in_words():
    outputs, references = ["我喜欢喝绿茶。", "他在睡觉。"], [["我喜欢喝红茶。"], ["他正在睡觉。"]]
    result = bleu(outputs, references)
    expected = sacrebleu.corpus_bleu(outputs, [[r[0] for r in references]], tokenize="zh")
    assert result.score == pytest.approx(expected.score)
    assert "tok:zh" in result.signature
    assert bleu(["I like green tea now."], [["I like black tea now."]]).signature.count("tok:13a")


def test_every_translation_of_a_source_is_a_reference():
    pairs = [Pair("a", "我喜欢喝绿茶。"), Pair("b", "他在睡觉。"), Pair("a", "我爱喝绿茶。")]
    sources = by_source(pairs)
    assert list(sources) == ["a", "b"]
    result = bleu(["我爱喝绿茶。", "他在睡觉。"], list(sources.values()))
    assert result.score == pytest.approx(100)
    assert (result.sentences, result.low, result.high) == (2, None, None)
    assert "nrefs:var" in result.signature


def test_the_interval_holds_the_score_and_repeats():
    outputs = ["我喜欢喝绿茶。", "他在睡觉。", "猫在那里。", "我们明天走。"] * 5
    references = [["我喜欢喝红茶。"], ["他正在睡觉。"], ["那里有猫。"], ["我们明天走。"]] * 5
    first, second = (bleu(outputs, references, bootstrap=100) for _ in range(2))
    assert first == second
    assert first.low < first.score < first.high
    assert "bs:100" in first.signature
    assert f"[{first.low:.1f}, {first.high:.1f}] on 20 sentences" in str(first)


def test_the_interval_stays_within_the_range_of_scores():
    outputs = ["我们明天去看朋友。", "他"]
    references = [["我们明天去看朋友。"], ["他们正在家里睡觉。"]]
    found = bleu(outputs, references, bootstrap=200)
    assert 0 <= found.low < found.score < found.high <= 100


@pytest.mark.parametrize("text", ["私は猫がとても好きです。", "ผมชอบแมวมาก"])
def test_other_scripts_without_spaces_are_measured_in_characters_too(text):
    result = bleu([text], [[text]])
    assert result.score == pytest.approx(100)
    assert "tok:char" in result.signature
    assert result.chrf is None


def test_where_references_are_too_short_for_bleu_chrf_is_told_too():
    found = bleu(["好", "你好", "猫"], [["好"], ["你好", "您好"], ["猫"]])
    assert found.score == 0
    assert found.chrf.score == pytest.approx(100)
    assert "most references are too short for BLEU" in str(found)
    assert "chrF 100.0 (nrefs:var" in str(found)


def test_two_translators_are_compared_on_the_same_sentences():
    references = [[f"我们明天去第{n}个城市看朋友。", f"明天我们去{n}城。"] for n in range(30)]
    right = [texts[0] for texts in references]
    wrong = [right[n].replace("明天", "昨天") if n % 3 else right[n] for n in range(30)]
    found = compare(right, wrong, references, bootstrap=200)
    assert (found.score, found.other) == (
        bleu(right, references, bootstrap=200), bleu(wrong, references, bootstrap=200)
    )  # fmt: skip
    assert 0 < found.low < 100 - found.other.score < found.high
    lines = str(found).splitlines()
    assert lines[:2] == [str(found.score), f"against {found.other}"]
    assert lines[2].startswith(f"difference +{100 - found.other.score:.1f} [+")


def test_resampled_scores_are_those_of_the_resampled_sentences(monkeypatch):
    references = [["我们明天去看朋友。", "明天去看朋友。"], ["他在睡觉。"], ["那里有一只猫。"]]
    outputs, others = ["明天我们去看朋友。", "他睡了。", "猫在。"], ["朋友。", "他在睡觉。", "狗。"]
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor([2, 0, 0]))
    found = compare(outputs, others, references, bootstrap=3)
    one, two = (
        bleu([texts[i] for i in (2, 0, 0)], [references[i] for i in (2, 0, 0)]).score
        for texts in (outputs, others)
    )
    assert (found.low, found.high) == (pytest.approx(one - two), pytest.approx(one - two))


def test_of_two_that_are_alike_neither_is_better():
    references = [[f"我们明天去第{n}个城市看朋友。"] for n in range(30)]
    right = [texts[0] for texts in references]
    wrong = [text.replace("明天", "昨天") for text in right]
    halves = [a if n % 2 else b for n, (a, b) in enumerate(zip(right, wrong, strict=True))]
    others = [b if n % 2 else a for n, (a, b) in enumerate(zip(right, wrong, strict=True))]
    found = compare(halves, others, references, bootstrap=200)
    assert found.low < 0 < found.high
    same = compare(halves, halves, references, bootstrap=200)
    assert (same.low, same.high) == (0, 0)


def test_where_references_are_too_short_for_bleu_chrf_tells_the_difference():
    references = [["one"], ["two"], ["three four"]]
    found = compare(["one", "two", "three four"], ["one", "too", "three"], references, bootstrap=3)
    assert found.score.chrf is not None
    assert found.other.chrf is not None
    above = found.score.chrf.score - found.other.chrf.score
    assert above > 10
    assert str(found).splitlines()[2] == f"difference of chrF {above:+.1f}"
