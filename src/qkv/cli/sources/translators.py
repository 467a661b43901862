"""A translator that reads a text and its own translation."""

from __future__ import annotations

import qkv
from qkv.tasks.tokens import START_TEXT
from qkv.tasks.translation import Translation, Translator
from qkv.viewer.subject import Source

from .titles import titled


def read(translator: Translator, text: str) -> list[Source]:
    """The attention of each sentence of a text: it is translated, then the pair is read once, so
    that every layer of encoder and decoder is one call.

    Raises:
        ValueError: there is nothing to translate.
    """
    [whole] = translator.translate([text])
    sentences = [one for one in whole.sentences if one.source.strip() and one.text.strip()]
    if not sentences:
        raise ValueError(f"look: there is nothing to translate in {titled(text)!r}")
    return [_source(translator, one) for one in sentences]


def _source(translator: Translator, sentence: Translation) -> Source:
    with qkv.observe(translator.model) as capture:
        pair = translator.align(sentence.source, sentence.text)
    if not capture.calls:
        raise ValueError("look: this translator has no attention")
    sides = {"encoder": [*pair.source_tokens], "decoder": [START_TEXT, *pair.tokens[:-1]]}
    for side, tokens in sides.items():
        capture.label(tokens, side=side)
    return Source(titled(f"{sentence.source} – {sentence.text}"), capture)
