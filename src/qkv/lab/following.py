"""Which heads of an encoder follow a relation between words, beside the best fixed offset.

A head follows a relation from a word to its governor, or the other way, as often as the word that
it looks at most, other than the word itself, is the one. An offset does if the governor stands so
many words on.

Source: Clark et al., "What Does BERT Look At? An Analysis of BERT's Attention" (2019), section 4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qkv.lab.intervals import Scores, of_counts
from qkv.lab.study import Record
from qkv.lab.syntax import Sentence

OFFSETS = [offset for offset in range(-8, 9) if offset]
TO_HEAD, TO_DEPENDENT = DIRECTIONS = ("to the governor", "to the dependent")


@dataclass(frozen=True)
class Hits:
    """For each document how often each head and each offset is right at a relation.

    `heads` is `[documents, directions, heads]`, `offsets` `[documents, offsets]`, `words`
    `[documents]` how often the relation comes.
    """

    heads: Tensor
    offsets: Tensor
    words: Tensor


def hits(
    maps: Iterable[tuple[Sentence, Tensor]], relations: Sequence[str], documents: int, heads: int
) -> dict[str, Hits]:
    """What heads and offsets have right, for each of the relations.

    Args:
        maps: sentences with the weights `[heads, words, words]` between their words.
        relations: their names, such as "det" or "aux:pass".
        documents: how many there are.
        heads: how many there are.
    """
    found = {
        name: Hits(
            torch.zeros(documents, len(DIRECTIONS), heads),
            torch.zeros(documents, len(OFFSETS)),
            torch.zeros(documents),
        )
        for name in relations
    }
    for sentence, weights in maps:
        itself = torch.eye(weights.shape[-1], dtype=torch.bool)
        looked_at = weights.masked_fill(itself, -1.0).argmax(-1)
        for place, (relation, head) in enumerate(
            zip(sentence.relations, sentence.heads, strict=True)
        ):
            if relation not in found or head < 0:
                continue
            own, document = found[relation], sentence.document
            own.heads[document, 0] += looked_at[:, place] == head
            own.heads[document, 1] += looked_at[:, head] == place
            own.offsets[document] += torch.tensor([head - place == offset for offset in OFFSETS])
            own.words[document] += 1
    return found


def chosen(known: Hits, asked: Hits, names: Sequence[str], seed: int) -> Record:
    """The head and the offset that are best on a half of the `known` documents, which `seed`
    draws; and for each of the `asked` documents that have the relation how often that head is
    right, that offset, and how often the relation comes."""
    generator = torch.Generator().manual_seed(seed)
    count = len(known.words)
    half = torch.randperm(count, generator=generator)[: (count + 1) // 2]
    direction, head = divmod(int(known.heads[half].sum(0).argmax()), len(names))
    offset = int(known.offsets[half].sum(0).argmax())
    columns = [asked.heads[:, direction, head], asked.offsets[:, offset], asked.words]
    return {
        "head": f"{names[head]} {DIRECTIONS[direction]}",
        "offset": OFFSETS[offset],
        "counts": torch.stack(columns, 1)[asked.words > 0].long().tolist(),
    }


def of_heads(records: Sequence[Record]) -> Scores:
    """How often heads are right, in per cent."""
    return of_counts([record["counts"] for record in records])


def of_offsets(records: Sequence[Record]) -> Scores:
    """How often offsets are right, in per cent."""
    return of_counts([record["counts"] for record in records], right=1)
