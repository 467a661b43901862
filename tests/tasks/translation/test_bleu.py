"""BLEU as sacrebleu computes it."""

import pytest
import sacrebleu

from qkv.tasks.translation.bleu import bleu, by_source
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
