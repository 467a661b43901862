"""Tokens of both sides: nothing crashes them, and text comes back."""

import json
import unicodedata

import pytest

from qkv.tasks.tokens import END, FIRST, Tokens, are_chinese, words

SENTENCES = ["The cat sleeps.", "The cat eats.", "the Cat's mat"] * 3
CHINESE = ["猫睡觉。", "猫吃饭。", "那只猫 A", "那只狗"]
ODD = ["🦆 naïve ﬁ\u200b", "</s> <unk> <s>", "\x00\x07", "漢字", "e\u0301", "\u2028"]


@pytest.fixture(params=[True, False], ids=["fresh", "reloaded"])
def pieces(request):
    tokens = Tokens.train("pieces", SENTENCES, 300, lowercase=True)
    return tokens if request.param else Tokens.from_json(json.loads(json.dumps(tokens.to_json())))


@pytest.fixture(params=[True, False], ids=["fresh", "reloaded"])
def characters(request):
    tokens = Tokens.train("characters", CHINESE, 0, lowercase=False)
    return tokens if request.param else Tokens.from_json(json.loads(json.dumps(tokens.to_json())))


@pytest.mark.parametrize("text", ODD)
def test_pieces_write_any_text_without_an_unknown(pieces, text):
    [numbers] = pieces.encode([text])
    assert numbers[-1] == END
    assert min(numbers[:-1]) >= FIRST
    assert max(numbers) < pieces.size
    read = unicodedata.normalize("NFC", text).lower().replace("\u200b", "")
    assert pieces.decode(numbers) == read.strip()
    assert len(pieces.offsets(text)) == len(numbers) - 1


def test_joiners_are_parts_of_words_and_of_emoji(pieces):
    for text in ("می\u200cروم", "👩\u200d🔬"):
        assert pieces.decode(pieces.encode([text])[0]) == text


def test_pieces_learn_words_without_case_and_know_where_they_stand(pieces):
    [first], [second] = pieces.encode(["the cat"]), pieces.encode(["The CAT"])
    assert first == second
    assert len(first) == 3
    text = "The CAT sleeps."
    assert [text[a:b] for a, b in pieces.offsets(text)][:2] == ["The", "CAT"]


def test_characters_are_single_and_rare_ones_unknown(characters):
    [numbers] = characters.encode(["猫只🦆睡那"])
    assert characters.decode(numbers[:2]) == "猫只"
    assert numbers[2] == numbers[3] == characters.unknown  # 睡 stands once only
    assert characters.readable(numbers[0]) == "猫"
    assert characters.readable(END) == "</s>"


def test_rows_of_logits_of_many_characters_are_whole_cache_lines():
    common = "".join(map(chr, range(0x4E00, 0x4E00 + 1050)))
    for extra in range(0, 40, 7):
        tokens = Tokens.train("characters", [common * 3, common[:extra] * 9], 0, lowercase=False)
        assert tokens.size % 16 == 0
        assert tokens.unknown not in tokens.encode([common[:extra]])[0]
        assert 1050 - 16 < tokens.size - 4 <= 1050
    few = Tokens.train("characters", [common[:99] * 2], 0, lowercase=False)
    assert few.size == 99 + 4


def test_no_text_is_read_as_a_mark(characters, pieces):
    for tokens in (characters, pieces):
        for numbers in tokens.encode(["</s>", "<unk>", "<s>"]):
            assert numbers.index(END) == len(numbers) - 1
            assert len(numbers) > 2


def test_what_is_no_tokenizer_is_refused(pieces):
    for value in ({}, {"kind": "pieces", "tokenizer": {"model": 1}}, {"kind": 1}, []):
        with pytest.raises(ValueError, match="not a tokenizer"):
            Tokens.from_json(value)
    with pytest.raises(ValueError, match="unknown kind 'syllables'"):
        Tokens.from_json(pieces.to_json() | {"kind": "syllables"})


def test_words_are_what_stands_between_white_space():
    assert words("ab  c", [(0, 1), (1, 2), (4, 5)]) == ((0, 2), (2, 3))
    assert words("", []) == ()


def test_chinese_is_told_by_its_letters():
    assert are_chinese(["我有 2 个苹果。", "OK"])
    assert not are_chinese(["I have two apples.", "猫"])
    assert not are_chinese(["かなでかく", "12"])
