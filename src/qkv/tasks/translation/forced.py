"""Forced decoding: how likely translations are that are known already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from qkv.models import SequenceToSequence
from qkv.tasks.buckets import padded
from qkv.tasks.tokens import START
from qkv.tasks.translation.search import Hypothesis

# Of the targets of a batch, padded: each asks for a row of logits as long as the vocabulary.
_MOST_CHARACTERS = 8192
TextPair = tuple[str, str]


def checked_pairs(function: str, pairs: Iterable[TextPair]) -> list[TextPair]:
    """The pairs as a list.

    Raises, in the name of `function`:
        TypeError: something in it is no pair.
        ValueError: a text is no str, or has no words.
    """
    as_list = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"{function}: pairs must be pairs of source and target; got {pair!r}")
        for name, text in zip(("source", "target"), pair, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{function}: {name} must be a str with words; got {text!r}")
        as_list.append((pair[0], pair[1]))
    return as_list


def groups(pairs: Sequence[TextPair], batch: int) -> list[list[int]]:
    """The numbers of pairs that are worked on together: at most `batch`, of about one length, and
    fewer where they are long."""
    order = sorted(range(len(pairs)), key=lambda i: (len(pairs[i][1]), len(pairs[i][0])))
    found: list[list[int]] = []
    for i in order:
        size = len(found[-1]) + 1 if found else 0
        if not found or size > batch or size * len(pairs[i][1]) > _MOST_CHARACTERS:
            found.append([])
        found[-1].append(i)
    return found


def hypotheses(
    model: SequenceToSequence,
    sources: list[list[int]],
    written: list[list[int]],
    device: torch.device,
) -> list[Hypothesis]:
    """What a search would say of these translations.

    Args:
        model: what translates.
        sources, written: the tokens of each pair, the end marks last.
        device: where the model is.
    """
    (source, lengths), (read, _) = padded(sources), padded([[START, *w[:-1]] for w in written])
    with torch.no_grad():
        logits = model(*(tensor.to(device) for tensor in (source, lengths, read)))
    found = []
    for row, numbers in zip(logits, written, strict=True):
        each = row[: len(numbers)].log_softmax(-1)[range(len(numbers)), numbers]
        found.append(Hypothesis(numbers, float(each.sum())))
    return found
