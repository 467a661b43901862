"""What the places of a sequence stand for: tokens, where they stand in a text, and its words."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..ground.tensors import integer
from .groups import Groups

Span = tuple[int, int]  # text[start:stop]

_ALONE = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and ideographs
_WORD = re.compile(rf"[{_ALONE}]|[^\s{_ALONE}]+")
_BROKEN = "\ufffd"  # what a decoder writes for bytes that are not yet a character


@dataclass(frozen=True)
class Labels:
    """The tokens of one sequence, and where in a text each stands; of tokens that came without a
    text, `spans` and `text` are None. The span of a special token is empty.

    There may be `spare` tokens more than places: the last one that was generated was not read.
    """

    tokens: tuple[str, ...]
    spans: tuple[Span, ...] | None = None
    text: str | None = None
    spare: int = 0

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def shown(self) -> list[str]:
        """Each place as a reader would write it: its text, or its token where it has none."""
        if self.spans is None or self.text is None:
            return list(self.tokens)
        written = (self.text[start:stop].strip() for start, stop in self.spans)
        return [text or token for text, token in zip(written, self.tokens, strict=True)]

    def first(self, count: int) -> Labels:
        """The labels of the first places."""
        return replace(
            self, tokens=self.tokens[:count], spans=self.spans and self.spans[:count], spare=0
        )

    def alone(self) -> Groups:
        """Each token by itself."""
        return Groups.alone(self.shown)

    def words(self, spans: Callable[[str], Sequence[Span]] | None = None) -> Groups:
        """The tokens of each word together. A token that reaches into several words belongs to
        each by its share of their characters; what reaches into none, as special tokens and
        spaces, stays alone.

        Args:
            spans: which words a text has; default: what stands between spaces, and kana and
                ideographs one by one.

        Raises:
            ValueError: there is no text, or the spans are not apart and in order.
        """
        if self.spans is None or self.text is None:
            raise ValueError(
                "words: the tokens were given without a text; label with a tokenizer and the text"
            )
        found = words_of(self.text) if spans is None else _pairs(spans(self.text))
        ends = [0, *(end for span in found for end in span), len(self.text)]
        if ends != sorted(ends):
            raise ValueError(
                f"words: spans must be apart, in order and inside the text of {len(self.text)} "
                f"characters; got {found[:8]}"
            )
        return Groups.of(
            [_shares(span, found) for span in self.spans],
            self.shown,
            [self.text[start:stop] for start, stop in found],
        )


def _pairs(spans: Any) -> list[Span]:
    """Spans as a user's function gives them."""
    try:
        found = [(integer(start), integer(stop)) for start, stop in spans]
    except (TypeError, ValueError):
        found = [(None, None)]
    known = [(a, b) for a, b in found if a is not None and b is not None]
    if len(known) < len(found):
        raise TypeError(f"words: spans must give pairs (start, stop) of integers; got {spans!r}")
    return known


def words_of(text: str) -> list[Span]:
    """Where the words of a text stand: what is between spaces; kana and ideographs, which have no
    spaces between them, one by one."""
    return [word.span() for word in _WORD.finditer(text)]


def _shares(span: Span, words: Sequence[Span]) -> list[tuple[int, float]]:
    """The words that a span reaches into, each with its share."""
    start, stop = span
    first = max(0, bisect_right(words, (start, start)) - 1)
    common = []
    for place in range(first, len(words)):
        if words[place][0] >= stop:
            break
        overlap = min(stop, words[place][1]) - max(start, words[place][0])
        if overlap > 0:
            common.append((place, overlap))
    total = sum(overlap for _, overlap in common)
    return [(place, overlap / total) for place, overlap in common]


def labels_of(labels: Any, text: Any, pair: Any, options: dict[str, Any]) -> list[Labels]:
    """One entry for each sequence: of tokens, or of a tokenizer and what it reads, one text or two.

    Raises:
        TypeError: neither.
        ValueError: the tokenizer does not say where its tokens stand; not as many second texts as
            first ones.
    """
    if "text_pair" in options:
        raise TypeError("label: the second text is given as pair=; got text_pair=")
    if text is None:
        if pair is not None:
            raise TypeError("label: pair is the second text that a tokenizer reads; got no first")
        return _given(labels)
    if pair is not None:
        return _of_pairs(labels, text, pair, options)
    if hasattr(text, "tolist"):  # a tensor or an array
        text = text.tolist()
    if _are_numbers(text):
        return [_of_ids(labels, text)]
    if isinstance(text, (list, tuple)) and text and all(map(_are_numbers, text)):
        return [_of_ids(labels, ids) for ids in text]
    texts = [text] if isinstance(text, str) else text
    if not texts or not _are_texts(texts):
        got = type(text).__name__ if texts else "none"
        raise TypeError(f"label: text must be text, texts or ids of tokens; got {got}")
    encodings = _encoded(labels, texts, None, options)
    pairs = zip(encodings, texts, strict=True)
    return [Labels(tuple(e.tokens), tuple(map(tuple, e.offsets)), t) for e, t in pairs]


def _of_pairs(tokenizer: Any, text: Any, pair: Any, options: dict[str, Any]) -> list[Labels]:
    """Of two texts for each sequence: the text of its labels has the second on a line below."""
    firsts, seconds = ([one] if isinstance(one, str) else one for one in (text, pair))
    for what, texts in (("text", firsts), ("pair", seconds)):
        if not _are_texts(texts):
            got = type(texts).__name__
            raise TypeError(f"label: with a pair, {what} must be a text or texts; got {got}")
    if len(firsts) != len(seconds):
        raise ValueError(
            f"label: there must be a second text for each; got {len(firsts)} texts and "
            f"{len(seconds)} in pair"
        )
    found = []
    encodings = _encoded(tokenizer, firsts, seconds, options)
    for encoding, first, second in zip(encodings, firsts, seconds, strict=True):
        behind = len(first) + 1
        spans = (
            (start + behind, stop + behind) if sequence == 1 else (start, stop)
            for (start, stop), sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True)
        )
        found.append(Labels(tuple(encoding.tokens), tuple(spans), f"{first}\n{second}"))
    return found


def _given(tokens: Any) -> list[Labels]:
    if _are_texts(tokens):
        return [Labels(tuple(tokens))]
    if isinstance(tokens, (list, tuple)) and tokens and all(map(_are_texts, tokens)):
        return [Labels(tuple(sequence)) for sequence in tokens]
    if isinstance(tokens, str):
        raise TypeError("label: tokens must be a list of them; got one text")
    if callable(tokens) or hasattr(tokens, "encode"):
        raise TypeError("label: a tokenizer needs a text beside it: label(tokenizer, text)")
    kinds = {type(token).__name__ for token in tokens} if isinstance(tokens, (list, tuple)) else ()
    got = " and ".join([type(tokens).__name__, *sorted(kinds)])
    raise TypeError(f"label: tokens must be a list of texts; got {got}")


def _are_texts(thing: Any) -> bool:
    return isinstance(thing, (list, tuple)) and all(isinstance(t, str) for t in thing)


def _are_numbers(thing: Any) -> bool:
    numbers = isinstance(thing, (list, tuple)) and bool(thing)
    return numbers and all(isinstance(n, int) for n in thing)


def _encoded(tokenizer: Any, texts: Any, seconds: Any, options: dict[str, Any]) -> Sequence[Any]:
    """What the tokenizer makes of the texts, as the package tokenizers tells it."""
    if hasattr(tokenizer, "encode_batch"):
        read = texts if seconds is None else list(zip(texts, seconds, strict=True))
        return tokenizer.encode_batch(read, **options)
    if not callable(tokenizer):
        raise TypeError(f"label: a tokenizer is needed; got {type(tokenizer).__name__}")
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"label: {type(tokenizer).__name__} does not say where its tokens stand; take the fast "
            "tokenizer, or give the tokens"
        )
    padding = {"padding": True} if len(texts) > 1 else {}
    encoded: Any = tokenizer(texts, seconds, **(padding | options))
    return encoded.encodings


def _of_ids(tokenizer: Any, ids: Sequence[int]) -> Labels:
    """Tokens by their numbers, as `generate` returns them. The text is what they decode to; tokens
    that make one character together share its span."""
    own = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(own, "id_to_token"):
        raise ValueError(
            f"label: {type(tokenizer).__name__} does not decode token by token; take the fast "
            "tokenizer, or give the tokens"
        )
    special = {i for i, token in own.get_added_tokens_decoder().items() if token.special}
    tokens = tuple(own.id_to_token(i) or str(i) for i in ids)
    text, spans = "", []
    before = read = 0  # where decoding starts, and up to where the text is known
    for place, number in enumerate(ids):
        if number in special:
            spans += [(len(text), len(text))] * (place + 1 - read)
            before = read = place + 1
            text += " " if text else ""  # no word goes on behind it
            continue
        known = own.decode(list(ids[before:read]))
        whole = own.decode(list(ids[before : place + 1]))
        if whole.endswith(_BROKEN):
            continue
        start, text = len(text), text + whole[len(known) :]
        spans += [(start, len(text))] * (place + 1 - read)
        before, read = read, place + 1
    spans += [(len(text), len(text))] * (len(ids) - read)
    return Labels(tokens, tuple(spans), text, spare=1)
