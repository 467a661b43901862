"""Labels by real tokenizers, trained on a few lines: whose span is whose, and which word."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from qkv.capture.labels import Labels, labels_of, words_of

LINES = ["the cat sat on the mat.", "你好,世界 hello wörld", "unbelievable attention looks"] * 5
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def byte_level(lines: list[str] = LINES, size: int = 300, *, trim: bool = False) -> Any:
    tokenizer: Any = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel
    tokenizer.pre_tokenizer = level(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=level.alphabet(),
        show_progress=False,
        special_tokens=["<s>", "</s>"],
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def word_piece() -> Any:
    tokenizer: Any = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def metaspace() -> Any:
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=100, special_tokens=["<s>"], show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def label(tokenizer: Any, text: Any, **options: Any) -> Labels:
    (labels,) = labels_of(tokenizer, text, None, options)
    return labels


def members(labels: Labels) -> dict[str, list[str]]:
    """The tokens of each word, by the words in their order; a token of two words is in both."""
    groups = labels.words()
    found: dict[str, list[str]] = {}
    for place, group in zip(groups.place.tolist(), groups.group.tolist(), strict=True):
        found.setdefault(f"{group} {groups.labels[group]}", []).append(labels.tokens[place])
    return found


def test_tokens_of_one_character_share_its_span_and_are_one_word():
    labels = label(byte_level(), "a 🙂 b")
    assert labels.spans == ((0, 1), (1, 2), (2, 3), (2, 3), (2, 3), (2, 3), (3, 4), (4, 5))
    assert labels.shown == ["a", "Ġ", "🙂", "🙂", "🙂", "🙂", "Ġ", "b"]
    assert members(labels) == {
        "0 a": ["a"],
        "1 Ġ": ["Ġ"],
        "2 🙂": ["ð", "Ł", "Ļ", "Ĥ"],
        "3 Ġ": ["Ġ"],
        "4 b": ["b"],
    }


def test_a_token_over_the_border_of_two_characters_is_shared_between_them():
    # Its one merge joins the last byte of 你 and the first of 好.
    letters = {letter: i for i, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer: Any = Tokenizer(models.BPE(letters | {"łå": len(letters)}, [("ł", "å")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    labels = label(tokenizer, "你好")
    spans = labels.spans
    assert spans == ((0, 1), (0, 1), (0, 2), (1, 2), (1, 2))
    groups = labels.words()
    assert groups.labels == ("你", "好")
    whole = torch.zeros(len(labels), dtype=torch.float64).index_add_(0, groups.place, groups.share)
    assert torch.equal(whole, torch.ones_like(whole))
    assert groups.share[groups.place == 2].tolist() == [0.5, 0.5]


def test_a_space_that_got_an_empty_span_stays_alone():
    labels = label(byte_level(size=258, trim=True), "hi 你")
    assert (3, 3) in (labels.spans or ())
    assert labels.shown[labels.tokens.index("Ġ")] == "Ġ"
    words = members(labels)
    assert [key.split(" ")[1] for key in words] == ["hi", "Ġ", "你"]
    assert len(words["2 你"]) > 1


def test_pieces_of_words_and_special_tokens():
    labels = label(word_piece(), "Unbelievable cat!")
    assert labels.tokens[0] == "[CLS]"
    assert labels.tokens[-1] == "[SEP]"
    spans = labels.spans
    assert spans is not None
    assert spans[0] == spans[-1] == (0, 0)
    assert "".join(labels.shown) == "[CLS]Unbelievablecat![SEP]"
    words = members(labels)
    assert list(words) == ["0 [CLS]", "1 Unbelievable", "2 cat!", "3 [SEP]"]
    assert len(words["1 Unbelievable"]) > 1


def test_metaspaces_belong_to_the_word_behind_them():
    labels = label(metaspace(), "the cat  sat")
    assert labels.shown[:2] == ["the", "cat"]
    assert list(members(labels)) == ["0 the", "1 cat", "2 ▁", "3 sat"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the cat, sat.", ["the", "cat,", "sat."]),
        ("你好 world カナ", ["你", "好", "world", "カ", "ナ"]),
        ("x你y", ["x", "你", "y"]),
        (" \n", []),
        ("", []),
    ],
)
def test_words_of_a_text(text, words):
    assert [text[start:stop] for start, stop in words_of(text)] == words


def test_words_of_ones_own():
    def halves(text):
        return [(0, 8), (8, len(text))]

    labels = label(metaspace(), "the cat sat on")
    assert labels.words(halves).labels == ("the cat ", "sat on")
    for spans in ([(0, 5), (4, 8)], [(5, 8), (0, 2)], [(0, 99)], [(-1, 3)]):
        with pytest.raises(ValueError, match="words: spans must be apart, in order and inside"):
            labels.words(lambda _, spans=spans: spans)
    with pytest.raises(ValueError, match="words: the tokens were given without a text"):
        Labels(("a", "b")).words()


def test_fast_tokenizers_of_transformers():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_piece(), pad_token="[PAD]")
    one = label(tokenizer, "the cat")
    assert one.tokens == ("[CLS]", "the", "cat", "[SEP]")
    several = labels_of(tokenizer, ["the cat", "the"], None, {})
    assert [labels.tokens for labels in several] == [
        ("[CLS]", "the", "cat", "[SEP]"),
        ("[CLS]", "the", "[SEP]", "[PAD]"),
    ]
    bare = label(tokenizer, "the cat", add_special_tokens=False)
    assert bare.tokens == ("the", "cat")
    long = label(tokenizer, "the", padding="max_length", max_length=5)
    assert len(long) == 5


@pytest.mark.parametrize("fast", [False, True])
def test_two_texts_in_one_sequence(fast):
    """Words of the second text are its own, though its spans count from its own beginning."""
    own = word_piece()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=own, pad_token="[PAD]") if fast else own
    (labels,) = labels_of(tokenizer, "the cat", "mat sat the", {})
    assert labels.text == "the cat\nmat sat the"
    assert labels.shown == ["[CLS]", "the", "cat", "[SEP]", "mat", "sat", "the", "[SEP]"]
    assert list(members(labels)) == [f"{n} {text}" for n, text in enumerate(labels.shown)]
    several = labels_of(tokenizer, ["the cat", "the"], ["mat sat the", "sat"], {})
    assert several[0] == labels
    assert several[1].shown[:5] == ["[CLS]", "the", "[SEP]", "sat", "[SEP]"]


@pytest.mark.parametrize(
    ("text", "pair", "options", "kind", "message"),
    [
        (["a", "b"], "c", {}, ValueError, "second text for each; got 2 texts and 1 in pair"),
        ("a", 3, {}, TypeError, "with a pair, pair must be a text or texts; got int"),
        ([1, 2], "a", {}, TypeError, "with a pair, text must be a text or texts; got list"),
        (None, "a", {}, TypeError, "pair is the second text that a tokenizer reads; got no first"),
        ("a", None, {"text_pair": "b"}, TypeError, "the second text is given as pair="),
    ],
)
def test_what_is_no_pair(text, pair, options, kind, message):
    with pytest.raises(kind, match=f"label: .*{message}"):
        labels_of(word_piece(), text, pair, options)


def test_generated_tokens_are_labelled_by_their_numbers():
    tokenizer = byte_level()
    ids = tokenizer.encode("the cat 你 sat").ids
    end = tokenizer.token_to_id("</s>")
    labels = label(tokenizer, torch.tensor([*ids, end]))
    assert labels.text == "the cat 你 sat "
    shown = list(dict.fromkeys(labels.shown))
    assert [text for text in shown if text != "Ġ"] == ["the", "cat", "你", "sat", "</s>"]
    words = members(labels)
    assert [key.split(" ")[1] for key in words if "Ġ" not in key] == [
        *("the", "cat", "你", "sat", "</s>")
    ]
    two = labels_of(tokenizer, [ids, ids[:3]], None, {})
    assert [len(one) for one in two] == [len(ids), 3]


def test_a_character_that_was_not_finished_stays_as_tokens():
    tokenizer = byte_level()
    ids = tokenizer.encode("a🙂").ids
    labels = label(tokenizer, ids[:-1])
    assert labels.text == "a"
    assert labels.shown == ["a", *labels.tokens[1:]]


def test_metaspace_ids_keep_their_spaces():
    tokenizer = metaspace()
    labels = label(tokenizer, tokenizer.encode("the cat sat").ids)
    assert labels.text == "the cat sat"
    apart = label(tokenizer, [*tokenizer.encode("the").ids, 0, *tokenizer.encode("cat").ids])
    assert list(members(apart)) == ["0 the", "1 <s>", "2 cat"]


class Slow:
    is_fast = False

    def __call__(self, text):
        raise AssertionError


@pytest.mark.parametrize(
    ("tokens", "text", "kind", "message"),
    [
        ("the cat", None, TypeError, "tokens must be a list of them; got one text"),
        (Slow(), None, TypeError, "a tokenizer needs a text beside it"),
        (3, None, TypeError, "tokens must be a list of texts; got int"),
        (Slow(), "a", ValueError, "Slow does not say where its tokens stand; take the fast"),
        (Slow(), [1], ValueError, "Slow does not decode token by token"),
        (Slow(), 3, TypeError, "text must be text, texts or ids of tokens; got int"),
        (3, "a", TypeError, "a tokenizer is needed; got int"),
    ],
)
def test_what_is_no_label(tokens, text, kind, message):
    with pytest.raises(kind, match=f"label: {message}"):
        labels_of(tokens, text, None, {})
