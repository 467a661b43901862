"""Cutting texts into sentences."""

import pytest
import sentencex
from hypothesis import given
from hypothesis import strategies as st

from qkv.tasks.tokens import Tokens
from qkv.tasks.translation.carried import MARKS, carried
from qkv.tasks.translation.sentences import LINE_BREAKS, sentences


@pytest.fixture(autouse=True)
def long(monkeypatch):
    """These tokens are mostly letters."""
    monkeypatch.setattr("qkv.tasks.translation.sentences.LONG", 100)


@pytest.fixture(scope="module")
def tokens():
    return Tokens.train("pieces", ["a b c d e f. " * 9], 300, lowercase=True)


def cut(text, tokens, longest=1000):
    return [one.text for one in sentences(text, tokens, longest)[0]]


@pytest.mark.parametrize(
    "expected",
    [
        ["The cat sat.", "The dog ran."],
        ["Dr. Smith came at 5 p.m. and left.", "He was tired."],
        ["She lives in the U.S. with her son."],
        ["It costs 3.50 euros.", "That is cheap."],
        ['"Stop!" he said.', "She did not."],
        ["“Are you there?” she asked."],
        ["Really?", "Yes!", "What?!", "Good."],
        ["I like fruit, e.g. apples and pears.", "See fig. 3 for details."],
        ["J. R. R. Tolkien wrote it."],
        ["Go to https://example.com/a.b?c=d.", "Then read."],
        ["i am here.", "you are there."],
        ["No. 5 is alive.", "He answered no.", "She left."],
        ["THE CAT SAT.", "THE DOG RAN."],
        ["Version 2.0.1 is out.", "Try readme.txt."],
        ["“I am here.", "You are there.", "We are lost.”", "He left."],
        ["MR. SMITH CAME AT 5 P.M. AND LEFT.", "HE WAS TIRED."],
        ["I like tea; she likes coffee, Mr. Li.", "It weighs 3.5 kg."],
        ["Wait... I am coming.", "Wait… She came."],
    ],
)
def test_sentences_end_where_they_end(tokens, expected):
    assert cut(" ".join(expected), tokens) == expected


@pytest.mark.parametrize(
    "expected",
    [
        ["I like tea.", "She likes coffee."],
        ["I have 3.", "She has 5."],
        ["OK.", "I see it.", "He is from the U.S.Army today."],
        ["Really?", "Yes!", "No."],
        ["“Go.”", "She left."],
        ["It is https://a.b/c.Def and v2.0.1 and U.S.A.F."],
    ],
)
def test_sentences_end_where_a_space_is_missing(tokens, expected):
    assert cut("".join(expected), tokens) == expected


@pytest.mark.parametrize(
    ("text", "expected", "after"),
    [
        ("- a b", [("- ", "a b")], ""),
        ("1. Go on. 2. Stop.", [("1. ", "Go on."), (" 2. ", "Stop.")], ""),
        ("  (3) a\n  * b\n+ c", [("  (3) ", "a"), ("\n  * ", "b"), ("\n+ ", "c")], ""),
        ("•a\n1.2. b\nc) d", [("•", "a"), ("\n1.2. ", "b"), ("\nc) ", "d")], ""),
        ("# a\n\n> - [x] b", [("# ", "a"), ("\n\n> - [x] ", "b")], ""),
        ("a b - c * d", [("", "a b - c * d")], ""),
        ("3 a\n3.5 b\n-5 c\n#d", [("", "3 a"), ("\n", "3.5 b"), ("\n", "-5 c"), ("\n", "#d")], ""),
        ("🎉 a b! ❤️ C ☕ d 👍🏽\n", [("🎉 ", "a b!"), (" ❤️ ", "C ☕ d")], " 👍🏽\n"),
        ("25°", [], "25°"),
        ("a 25°.", [("", "a 25°.")], ""),
        ("Go on. 42. Stop.", [("", "Go on."), (" 42. ", "Stop.")], ""),
        ("- \n42\n...", [], "- \n42\n..."),
        ("https://a.bc/d?e", [], "https://a.bc/d?e"),
        ("x@y.zz, 12:30", [], "x@y.zz, 12:30"),
        ("See x@y.zz", [("", "See x@y.zz")], ""),
    ],
)
def test_what_needs_no_translation_stands_between_sentences(tokens, text, expected, after):
    assert sentences(text, tokens, 1000) == (expected, after)


def test_chinese_sentences_end_without_a_space(tokens):
    assert cut("你好。我是学生！你呢？", tokens) == ["你好。", "我是学生！", "你呢？"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n \n", "\u2028"])
def test_a_line_break_ends_a_sentence(tokens, end):
    found, after = sentences(f" a b{end}\tHe  sat. e{end}", tokens, 100)
    assert found == [(" ", "a b"), (f"{end}\t", "He sat."), (" ", "e")]
    assert after == end


@pytest.mark.parametrize("text", ["", " ", " \n\t "])
def test_white_space_alone_has_no_sentence(tokens, text):
    assert sentences(text, tokens, 100) == ([], text)


@given(st.text(alphabet="ab .!?\n\r\t\"“”'()。”…\u2028\u00a0🦆1", max_size=80))
def test_nothing_of_a_text_is_lost(tokens, text):
    found, after = sentences(text, tokens, 8)
    whole = "".join(before + one for before, one in found) + after
    assert "".join(whole.split()) == "".join(text.split())
    assert [c for c in whole if c in LINE_BREAKS] == [c for c in text if c in LINE_BREAKS]
    assert all(one and one == one.strip() for _, one in found)


def test_a_sentence_that_is_too_long_is_cut_between_words(tokens):
    parts = cut("a b c d e f " * 10, tokens, 8)
    assert " ".join(parts).split() == ["a", "b", "c", "d", "e", "f"] * 10
    assert all(len(tokens.offsets(part)) < 8 for part in parts)
    assert len(parts) <= 10


def test_it_is_cut_after_a_clause_where_there_is_one(tokens):
    assert cut("a b c d e, f a b c d e f.", tokens, 11) == ["a b c d e,", "f a b c d e f."]


@pytest.mark.parametrize(
    ("clauses", "parts"),
    [
        ((29,), (29,)),  # short enough
        ((15, 15), (15, 15)),
        ((7, 8, 15), (15, 15)),  # the most even
        ((6, 24), (30,)),  # too uneven
        ((10, 12, 10, 12, 10, 12), (22, 22, 22)),
        ((40, 10), (50,)),
        ((75,), (75,)),  # only clauses end what is not too long
    ],
)
def test_a_long_sentence_is_cut_after_clauses_into_even_parts(tokens, clauses, parts, monkeypatch):
    monkeypatch.setattr("qkv.tasks.translation.sentences.LONG", 30)
    words = [["a"] * (count - 1) + [","] for count in clauses]  # a comma is a token too
    text = " ".join(" ".join(clause).replace(" ,", ",") for clause in words)
    assert [len(tokens.offsets(part)) for part in cut(text, tokens, 100)] == list(parts)
    assert " ".join(cut(text, tokens, 100)) == text


@pytest.mark.parametrize("text", ["x" * 500, "ж" * 200, "漢" * 200])
def test_a_word_that_is_too_long_is_cut_anywhere_and_nothing_is_lost(tokens, text):
    found, _ = sentences(text, tokens, 9)
    assert {before for before, _ in found} == {""}
    assert "".join(one for _, one in found) == text
    assert all(0 < len(tokens.offsets(one)) <= 12 for _, one in found)


@pytest.fixture(scope="module")
def marked():
    """Tokens among which are the marks."""
    return Tokens.train("pieces", ["a b c d e f. " * 9], 300, lowercase=True, marks=MARKS)


def read_with_marks(text, tokens, longest):
    def read(sentence):
        return carried(sentence, len, chinese=True)

    return [one.text for one in sentences(text, tokens, longest, read)[0]]


@pytest.mark.parametrize(
    "thing", ["https://a.org/" + "x1/" * 60 + "y?A.B", "1" * 90, "b@" + "c" * 80 + ".org"]
)
def test_what_a_mark_stands_for_is_one_token_and_is_never_cut(marked, thing):
    text = f"a b {thing} c d."
    assert read_with_marks(text, marked, 9) == [text]
    assert len(cut(text, marked, 9)) > 1  # of a model that takes nothing over


def test_what_has_no_mark_because_there_are_too_many_is_never_cut(marked):
    things = [f"https://a.org/{'x' * n}" for n in range(20, 20 + 3 * len(MARKS))]
    for before, after in (("a ", " b."), ("a b c ", "")):
        parts = read_with_marks(f"{before}{' '.join(things)}{after}", marked, 12)
        assert " ".join(parts).split() == [*before.split(), *things, *after.split()]
        assert len(parts) > 2 * len(MARKS)


@pytest.mark.parametrize(
    "expected",
    [
        ["Go to https://a.org/what?Is=this!Now and see.", "Then go."],
        ["See https://a.org/v1.Two for it."],
        ["“Open https://a.org/What?_Is!It now.", "Then go.”", "She left."],
    ],
)
def test_no_address_is_cut(tokens, expected):
    assert cut(" ".join(expected), tokens) == expected


@pytest.mark.parametrize("space", "\u00a0\u2003\u202f\u3000")
def test_sentences_are_found_among_spaces_of_several_bytes(tokens, space, monkeypatch):
    segment = sentencex.segment

    def narrow(language, text):
        if any(c.isspace() and not c.isascii() for c in text):
            raise BaseException("a space of several bytes")
        return segment(language, text)

    monkeypatch.setattr(sentencex, "segment", narrow)
    text = f"Mr.{space}Li{space}left.{space}“I am here.{space}You are there.”"
    found, after = sentences(text, tokens, 1000)
    plain = ["Mr. Li left.", "“I am here.", "You are there.”"]
    assert ([one.text for one in found], after) == (plain, "")
    assert [one.before for one in found] == ["", space, space]


@pytest.mark.parametrize("unit", ["x", "“a. b ", "a b. ", '"', "a ", "漢"])
def test_a_long_line_is_read_in_short_blocks_a_few_times(tokens, unit, monkeypatch):
    """Both readers take time with more than the length of what they are given at once."""
    cutter, tokenizer = [], []

    def counted(function, lengths):
        def counting(*arguments):
            lengths.append(len(arguments[-1]))
            return function(*arguments)

        return counting

    monkeypatch.setattr(sentencex, "segment", counted(sentencex.segment, cutter))
    monkeypatch.setattr(type(tokens), "offsets", counted(type(tokens).offsets, tokenizer))
    text = unit * (160_000 // len(unit))
    sentences(text, tokens, 60)
    assert max(cutter) <= 4000 >= max(tokenizer)
    assert sum(cutter) <= 3 * len(text)
    assert sum(tokenizer) <= 2 * len(text)
