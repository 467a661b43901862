"""Which texts are held out: decided by their words alone, so that copies stay together."""

from __future__ import annotations

import hashlib
import re


def sentence_key(text: str) -> str:
    """What makes two source sentences the same: their words, without case or punctuation."""
    words = " ".join(re.findall(r"\w+", text.casefold()))
    return words or text


def sentence_share(text: str) -> float:
    """A number in [0, 1) that depends on the sentence's words alone, evenly spread."""
    digest = hashlib.sha256(sentence_key(text).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
