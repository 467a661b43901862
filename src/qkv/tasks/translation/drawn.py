"""What is drawn of a translated sentence: weights, and labels that a reader knows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from qkv.tasks.tokens import END_TEXT
from qkv.tasks.translation.aligned import Aligned
from qkv.tasks.translation.looks import Look

_END = "(end)"


def named(labels: Sequence[str]) -> list[str]:
    """The labels with the end mark in a word: `(end)`, of the sentence."""
    return [_END if label == END_TEXT else label for label in labels]


def look_of(
    sentence: Aligned, merge_words: bool, look: Look | None = None
) -> tuple[Tensor | None, Sequence[str]]:
    """The alignment `[tokens, source tokens or words]`, where given by a `look`, and what its
    columns are, the end mark last; without a matrix, and by tokens, where the model has no
    attention."""
    if sentence.alignment is None:
        return None, sentence.source_tokens
    matrix = sentence.alignment if look is None else look.of(sentence.matrices)
    weights, columns = matrix.dense(), sentence.source_tokens
    if merge_words:
        from qkv.pictures import merge_columns

        weights, joined = merge_columns(weights, columns, sentence.source_spans)
        # Pieces of one character, such as an emoji's bytes, would each repeat it.
        words = (*sentence.source.split(), columns[-1])
        columns = words if len(words) == len(joined) else joined
    return weights, columns


def weights_of(
    sentence: Aligned, merge_words: bool, look: Look | None = None
) -> tuple[Tensor, list[str], list[str]]:
    """The alignment, and labels of its rows and columns as a reader knows them.

    Raises ValueError where the model has no attention, or no such look.
    """
    weights, columns = look_of(sentence, merge_words, look)
    if weights is None:
        raise ValueError("this model has no attention, so there is nothing to show")
    return weights, named(sentence.tokens), named(columns)
