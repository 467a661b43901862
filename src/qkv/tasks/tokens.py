"""Text to token numbers and back: byte pairs, or characters for a language without spaces."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from qkv._extras import needed

PADDING, START, END = 0, 1, 2
FIRST = 3
START_TEXT, END_TEXT = "<s>", "</s>"
KINDS = ("characters", "pieces")
# Rows of so many floats begin where a cache line does: logits are made a third faster (AMD, AVX2).
_TOGETHER = 16
_MANY = 1000
UNKNOWN_TEXT = "<unk>"
_LONG_WORD = re.compile(r"\S{500}(?=\S)")  # longer than anything that pieces are learnt from


class Tokens:
    """The tokens of one side. Numbers below `FIRST` are padding, start and end; those of the
    tokenizer follow, so no text can be read as one of the three."""

    def __init__(self, kind: str, tokenizer: Any) -> None:
        self.kind, self.tokenizer = kind, tokenizer
        self.size = FIRST + tokenizer.get_vocab_size()
        self.unknown = FIRST if kind == "characters" else None
        """The number that stands for a character never seen; pieces need none."""

    @classmethod
    def train(
        cls,
        kind: str,
        texts: Iterable[str],
        size: int,
        *,
        lowercase: bool,
        digits: bool = False,
        marks: Sequence[str] = (),
    ) -> Tokens:
        """Learn tokens from texts: at most `size` pieces, or the characters that occur twice,
        but for up to 15 of the rarest of a thousand or more.

        With `digits` each digit is a piece. `marks` are characters that are tokens, whether they
        stand in the texts or not.
        """
        if kind == "characters":
            return cls(kind, _characters(texts, lowercase, marks))
        tokenizer = _pieces(texts, size, lowercase, digits)
        added = needed("tokenizers").AddedToken
        tokenizer.add_tokens([added(mark, normalized=False) for mark in marks])
        return cls(kind, tokenizer)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Tokens:
        """The inverse of `to_json`. Raises ValueError where `value` is not what it made."""
        try:
            tokenizer = needed("tokenizers").Tokenizer.from_str(json.dumps(value["tokenizer"]))
            if value["kind"] not in KINDS:
                raise ValueError(f"unknown kind {value['kind']!r}")
        except (ImportError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # tokenizers raises bare Exception; its panics are not even
            raise ValueError(f"not a tokenizer: {error}") from error
        return cls(value["kind"], tokenizer)

    def to_json(self) -> dict[str, Any]:
        """Everything needed to make these tokens again, as JSON values."""
        return {"kind": self.kind, "tokenizer": json.loads(self.tokenizer.to_str())}

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token numbers of each text, the end mark last."""
        encodings = self.tokenizer.encode_batch(texts)
        return [[*(FIRST + i for i in e.ids), END] for e in encodings]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where in `text` each token but the end mark stands: `text[start:stop]`."""
        return self.tokenizer.encode(text).offsets

    def decode(self, numbers: list[int]) -> str:
        """The text of these tokens; padding, start and end add nothing."""
        return self.tokenizer.decode([i - FIRST for i in numbers if i >= FIRST]).strip()

    def readable(self, number: int) -> str:
        """One token as a reader would write it."""
        if number < FIRST:
            return END_TEXT if number == END else ""
        text = self.tokenizer.decode([number - FIRST])
        return text.strip() or text


def are_chinese(texts: Iterable[str]) -> bool:
    """Whether most letters of the texts are Chinese ideographs, and hardly any Japanese kana."""
    counts, letters = _scripts(texts)
    return counts["ideographs"] * 2 > letters and counts["kana"] * 20 <= letters


def are_unspaced(texts: Iterable[str]) -> bool:
    """Whether most letters of the texts are of scripts that put no space between words: Chinese,
    Japanese, Thai, Lao, Tibetan, Burmese, Khmer."""
    counts, letters = _scripts(texts)
    return counts.total() * 2 > letters


UNSPACED = {
    "ideographs": ("\u3400", "\u9fff"), "kana": ("\u3040", "\u30ff"), "Thai": ("\u0e00", "\u0e7f"),
    "Lao": ("\u0e80", "\u0eff"), "Tibetan": ("\u0f00", "\u0fff"), "Burmese": ("\u1000", "\u109f"),
    "Khmer": ("\u1780", "\u17ff"),
}  # fmt: skip


def _scripts(texts: Iterable[str]) -> tuple[Counter[str], int]:
    """How many letters are of each script without spaces, and how many letters there are."""
    characters = Counter(c for text in texts for c in text)
    letters = Counter({c: count for c, count in characters.items() if c.isalpha()})
    counts: Counter[str] = Counter()
    for name, (first, last) in UNSPACED.items():
        counts[name] = sum(count for c, count in letters.items() if first <= c <= last)
    return counts, letters.total()


# As a keyboard writes what typography writes in several ways, and without marks of where a line may
# break. Joiners, which are not seen either, stay: they are parts of words and of emoji.
_AS_TYPED = {'["“”„‟«»]': '"', "[‘’‚‛`´]": "'", "…": "...", "[\u00ad\u200b\u2060\ufeff]": ""}


def _normalizer(lowercase: bool) -> Any:
    """NFC; with `lowercase` also in lower case, with the quotation marks and dots of a keyboard,
    and without soft hyphens and spaces of no width."""
    tokenizers = needed("tokenizers")
    steps = tokenizers.normalizers
    replacements = [steps.Replace(tokenizers.Regex(old), new) for old, new in _AS_TYPED.items()]
    return steps.Sequence(
        [steps.NFC(), steps.Lowercase(), *replacements] if lowercase else [steps.NFC()]
    )


def _pieces(texts: Iterable[str], size: int, lowercase: bool, digits: bool) -> Any:
    tokenizers = needed("tokenizers")
    split, level = tokenizers.pre_tokenizers, tokenizers.pre_tokenizers.ByteLevel
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.normalizer = _normalizer(lowercase)
    words = level(add_prefix_space=True)
    each = split.Split(tokenizers.Regex("Ġ?[0-9]"), "isolated")  # with the space in front
    tokenizer.pre_tokenizer = split.Sequence([words, each]) if digits else words
    tokenizer.post_processor = tokenizers.processors.ByteLevel(trim_offsets=True)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    # With all 256 bytes in the alphabet every text can be written.
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=level.alphabet(),
    )
    # The trainer takes time with the square of a word's length.
    tokenizer.train_from_iterator((_LONG_WORD.sub(r"\g<0> ", text) for text in texts), trainer)
    return tokenizer


def _characters(texts: Iterable[str], lowercase: bool, marks: Sequence[str]) -> Any:
    tokenizers = needed("tokenizers")
    normalizer = _normalizer(lowercase)
    counts = Counter(c for text in texts for c in normalizer.normalize_str(text))
    kept = sorted((c for c in counts if counts[c] > 1), key=lambda c: (-counts[c], c))
    others = FIRST + 1 + len(marks)
    if len(kept) >= _MANY:  # the rarest few are left out
        kept = kept[: len(kept) - (others + len(kept)) % _TOGETHER]
    every = dict.fromkeys([UNKNOWN_TEXT, *kept, *marks])
    vocabulary = {text: number for number, text in enumerate(every)}
    model = tokenizers.models.WordLevel(vocabulary, unk_token=UNKNOWN_TEXT)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizer
    single = tokenizers.Regex(r"[\s\S]")
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(single, "isolated")
    tokenizer.decoder = tokenizers.decoders.Fuse()
    return tokenizer


def word_numbers(text: str, offsets: list[tuple[int, int]]) -> list[int]:
    """To which word, counted from 0, each token belongs."""
    begins = [match.start() for match in re.finditer(r"\S+", text)]
    return [bisect_right(begins, start) - 1 for start, _ in offsets]


def words(text: str, offsets: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Group tokens into words, i.e. what stands between white space: ranges `(start, stop)`."""
    belongs = word_numbers(text, offsets)
    firsts = [n for n, word in enumerate(belongs) if n == 0 or word != belongs[n - 1]]
    return tuple(pairwise([*firsts, len(offsets)]))
