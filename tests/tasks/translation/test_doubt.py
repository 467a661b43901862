"""Why a translation may be wrong."""

import pytest

import qkv
from qkv.tasks.translation.doubt import doubts
from qkv.tasks.translation.translation import Translation, joined


def sentence(source, text, pieces=None, weights=None, score=-0.1):
    words = source.split()
    pieces = pieces or [1] * len(words)
    ends = [sum(pieces[: n + 1]) for n in range(len(words))]
    spans = [*zip([0, *ends], ends, strict=False), (sum(pieces), sum(pieces) + 1)]
    return Translation(
        source, text, ("",) * (sum(pieces) + 1), (*text, "</s>"), tuple(spans), score, weights
    )


def found(*arguments, language="English", source=(), written=(), chinese=True, **options):
    return doubts(source, written, language, sentence(*arguments, **options), chinese=chinese)


def test_a_plain_translation_is_not_doubted():
    assert found("I have 3 dogs", "我有三只狗", source=[4, 5, 6, 7], written=[4, 5, 6, 7, 8]) == ()


def test_words_in_pieces_are_not_the_language():
    assert found("ich habe zeit", "我", pieces=[3, 3, 2]) == ("not English",)
    assert found("ich habe zeit", "我", pieces=[3, 3, 2], language=None) == ("unknown words",)
    assert found("hello !", "你好", pieces=[2, 1]) == ()
    assert found("👍👍", "好", pieces=[8]) == ("not English",)
    assert found("... !", "……", pieces=[3, 1]) == ()


def test_a_number_that_does_not_arrive_is_lost():
    assert found("It has 365 days", "有三天") == ("numbers lost",)
    assert found("It has 365 days and 3 parts", "有三百六十五天") == ("numbers lost",)
    assert found("It has 3,776 days", "有3776天") == ()
    assert found("See www.example.org now", "现在看") == ("numbers lost",)


def test_numbers_are_looked_for_as_the_language_has_them():
    assert found("It costs $5", "Es kostet 5 Dollar", chinese=False) == ()
    assert found("It costs $5", "Es kostet 6 Dollar", chinese=False) == ("numbers lost",)
    for chinese in (True, False):  # the text tells too
        assert found("It has 365 days", "有三百六十五天", chinese=chinese) == ()


def test_a_run_that_the_source_does_not_repeat_is_repeated():
    looping = [7, 8, 9, 10] * 3
    assert found("a b", "x", source=[4, 5, 2], written=looping) == ("repeated",)
    assert found("a b", "x", source=[4, 5] * 3, written=looping) == ()


def test_what_is_written_with_little_certainty_is_unsure():
    assert found("a b", "x", score=-0.65) == ("unsure",)
    assert found("a b", "x", score=-0.55) == ()


def looked(*rows):
    import torch

    weights = torch.tensor(rows)
    eye = torch.eye(weights.shape[1])
    matrix = qkv.attention(weights.clamp(min=1e-30).log(), eye, score=qkv.Dot(scale=1.0))
    return lambda: [matrix_with_a_row_more(matrix)]


def matrix_with_a_row_more(matrix):
    import torch

    weights = torch.cat([matrix.dense(), matrix.dense()[-1:]])
    eye = torch.eye(weights.shape[1])
    return qkv.attention(weights.clamp(min=1e-30).log()[None], eye[None], score=qkv.Dot(scale=1.0))


def test_a_word_that_was_hardly_looked_at_is_uncovered():
    even = looked([0.5, 0.3, 0.2], [0.2, 0.6, 0.2])
    assert found("a b", "x", weights=even) == ()
    assert found("a b", "x", weights=looked([0.8, 0.1, 0.1], [0.8, 0.1, 0.1])) == ()
    uneven = looked([0.9, 0.01, 0.09], [0.9, 0.01, 0.09])
    assert found("a b", "x", weights=uneven) == ("uncovered",)
    assert found("ab", "x", pieces=[2], weights=uneven) == ()


def test_a_text_has_the_doubts_of_its_sentences():
    each = [
        Translation("a", "b", (), ("b",), (), 0.0, suspect=lambda _, reason=reason: reason)
        for reason in [("repeated",), (), ("numbers lost", "repeated")]
    ]
    assert joined("a a a", each, "bbb").doubt == ("repeated", "numbers lost")
    assert joined("", [], "").doubt == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Ich habe heute keine Zeit, weil ich arbeiten muss.", "not English"),
        ("Ich habe keine Zeit heute.", "not English"),
        ("我今天没有时间。", "not English"),
        ("Сегодня хорошая погода.", "not English"),
        ("- Ich habe heute keine Zeit.", "not English"),
    ],
)
def test_the_translator_that_ships_doubts(text, reason):
    [translation] = qkv.Translator.load().translate([text])
    assert reason in translation.doubt


def test_a_translator_that_loses_numbers_says_so():
    [translation] = qkv.Translator.load("en-zh-recurrent").translate(["The pin is 902847."])
    assert "numbers lost" in translation.doubt


def test_a_translator_into_a_language_with_spaces_looks_for_digits():
    shipped = qkv.Translator.load()
    spaced = qkv.Translator(shipped.model, shipped.source, shipped.source, 60)
    aligned = spaced.align("It is on May 3.", "Es ist am 3. Mai.")
    assert "numbers lost" not in aligned.doubt


def test_the_translator_that_ships_does_not_doubt_what_it_knows():
    texts = ["I would like a cup of coffee.", "Hello! I DON’T KNOW.", "", "...", "I have 2 dogs."]
    for translation in qkv.Translator.load().translate(texts):
        assert translation.doubt == ()


LONG = (
    "The old man who lived in the small house near the river went to the market every morning to "
    "buy fresh bread and vegetables for his family because his wife was too ill to walk and his "
    "children were too young to go alone through the busy streets of the town"
)


def test_a_sentence_of_fifty_words_does_not_loop():
    [translation] = qkv.Translator.load().translate([LONG])
    tokens = translation.tokens
    runs = [tokens[n : n + 6] for n in range(len(tokens))]
    assert max(map(runs.count, runs)) == 1
    assert len(tokens) < 100


@pytest.mark.parametrize(
    "text",
    [
        (LONG + " and ") * 4, "https://www.example.com/a/b?c=d", "?!…", "\u200b", "a\x00b",
        "I like 北京 and Москва.", "#" * 300, "x" * 1000, "1" * 300, "<b>bold</b>", "\ufffd\ud800",
    ],
)  # fmt: skip
def test_whatever_comes_is_translated_and_doubt_can_be_told(text):
    [translation] = qkv.Translator.load().translate([text], beam=2)
    assert isinstance(translation.doubt, tuple)
    assert bool(translation.text.encode()) is (text != "\u200b")
