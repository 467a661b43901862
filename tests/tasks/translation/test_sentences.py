"""Cutting long texts."""

import pytest

from qkv.tasks.tokens import Tokens
from qkv.tasks.translation.sentences import chunks


@pytest.fixture(scope="module")
def tokens():
    return Tokens.train("pieces", ["a b c d e f. " * 9], 300, lowercase=True)


def test_a_text_that_fits_stays_whole(tokens):
    assert chunks(" a b.  c\nd! ", tokens, 10) == ["a b. c d!"]
    assert chunks(" \n\t ", tokens, 10) == []


def test_a_longer_one_is_cut_into_sentences(tokens):
    text = 'He said "a b." Then c? 3.5 d。e f！g... h\n\nlast'
    expected = ['He said "a b."', "Then c?", "3.5 d。", "e f！", "g...", "h", "last"]
    assert chunks(text, tokens, 20) == expected


def test_a_sentence_that_is_too_long_is_cut_between_words(tokens):
    parts = chunks("a b c d e f " * 10, tokens, 8)
    assert " ".join(parts).split() == ["a", "b", "c", "d", "e", "f"] * 10
    assert all(len(tokens.offsets(part)) < 8 for part in parts)
    assert len(parts) <= 10


@pytest.mark.parametrize("text", ["x" * 500, "🦆" * 100, "漢" * 200])
def test_a_word_that_is_too_long_is_cut_anywhere_and_nothing_is_lost(tokens, text):
    parts = chunks(text, tokens, 9)
    assert "".join(parts) == text
    assert all(0 < len(tokens.offsets(part)) <= 12 for part in parts)
