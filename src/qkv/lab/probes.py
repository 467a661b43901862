"""Linear probes: what can be read from the states of words by logistic regression, beside control
tasks.

* The part of speech is read from the state of the word.
* The relation to the head (subject, determiner, ...; subtypes count as one) is read from the states
  of both.
* The distance to the head, in words and with its sign, is read from the state of the word alone.

Punctuation is left out, and the root has no relation. States are brought to mean 0 and variance 1.

A probe that is rich enough learns anything by heart. So each task has a control task, in which each
word, wherever it stands, has a label that was drawn for it; what a probe does better at the task
than at its control is its selectivity.

Source: Hewitt and Liang, "Designing and Interpreting Probes with Control Tasks" (2019), section 2.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qkv.lab.intervals import Scores, of_counts
from qkv.lab.logistic import fitted
from qkv.lab.study import Record
from qkv.lab.syntax import PUNCTUATION, Sentence

PART, RELATION, DISTANCE = TASKS = (
    "part of speech",
    "relation to the head",
    "distance to the head",
)
FARTHEST = 5
"""Words; heads that are farther count as that far."""

_STRENGTH, _ITERATIONS = 1.0, 50
_UNIT = 1e-6  # what varies less is left as it is


@dataclass(frozen=True)
class Read:
    """Sentences with the states `[words, width]` of each."""

    sentences: Sequence[Sentence]
    states: Sequence[Tensor]


def probed(learn: Read, test: Read, seed: int) -> Record:
    """For each task and each document of the test: how many words a probe has right, how many one
    of the control task, and how many words there are.

    Args:
        learn: what the probes learn from.
        test: what they are tested on.
        seed: of the labels of the control task.
    """
    return {task: _probed(task, learn, test, seed) for task in TASKS}


def accuracy(records: Sequence[Record], task: str) -> Scores:
    """The words that probes have right, in per cent."""
    return of_counts([record[task] for record in records])


def selectivity(records: Sequence[Record], task: str) -> Scores:
    """The words that they have right less those of the control task, in per cent."""
    counts = torch.tensor([record[task] for record in records], dtype=torch.float64)
    return Scores(counts, lambda sums: 100 * (sums[..., 0] - sums[..., 1]) / sums[..., 2])


@dataclass(frozen=True)
class _Items:
    """The words that have a label."""

    features: Tensor
    labels: list[str]
    words: list[str]
    documents: list[int]


def _items(task: str, read: Read) -> _Items:
    features, labels, words, documents = [], [], [], []
    for sentence, states in zip(read.sentences, read.states, strict=True):
        told = _labels(task, sentence)
        places = [place for place, label in enumerate(told) if label]
        own = states[places]
        if task == RELATION:
            own = torch.cat([own, states[[sentence.heads[place] for place in places]]], 1)
        features.append(own)
        labels += [told[place] for place in places]
        words += [sentence.words[place].lower() for place in places]
        documents += [sentence.document] * len(places)
    return _Items(torch.cat(features), labels, words, documents)


def _labels(task: str, sentence: Sentence) -> list[str]:
    """The label of each word; empty for punctuation, and where the root has none."""
    if task == PART:
        told = list(sentence.parts)
    elif task == RELATION:
        relations = zip(sentence.relations, sentence.heads, strict=True)
        told = ["" if head < 0 else relation.split(":")[0] for relation, head in relations]
    else:
        told = [_distance(place, head) for place, head in enumerate(sentence.heads)]
    parts = zip(told, sentence.parts, strict=True)
    return ["" if part == PUNCTUATION else label for label, part in parts]


def _distance(place: int, head: int) -> str:
    return "root" if head < 0 else str(max(-FARTHEST, min(FARTHEST, head - place)))


def _probed(task: str, learn: Read, test: Read, seed: int) -> list[list[int]]:
    known, asked = _items(task, learn), _items(task, test)
    mean, spread = known.features.mean(0), known.features.std(0).clamp(min=_UNIT)
    from_, to = ((one.features - mean) / spread for one in (known, asked))
    draw = _Drawn(known.labels, seed)
    right = _right(from_, known.labels, to, asked.labels)
    control = _right(from_, draw.labels(known.words), to, draw.labels(asked.words))
    counts = torch.zeros(1 + max(one.document for one in test.sentences), 3, dtype=torch.long)
    rows = torch.stack([right, control, torch.ones_like(right)], 1).long()
    return counts.index_add(0, torch.tensor(asked.documents), rows).tolist()


def _right(
    known: Tensor, known_labels: Sequence[str], asked: Tensor, asked_labels: Sequence[str]
) -> Tensor:
    """Whether the probe's answer is the label of each word."""
    names = sorted(set(known_labels))
    numbers = {name: number for number, name in enumerate(names)}
    classes = torch.tensor([numbers[label] for label in known_labels])
    weights, offsets = fitted(
        known, classes, len(names), strength=_STRENGTH, iterations=_ITERATIONS
    )
    answers = (asked @ weights + offsets).argmax(1)
    return answers == torch.tensor([numbers.get(label, -1) for label in asked_labels])


class _Drawn:
    """A label for each word, drawn as often as the labels come in the task."""

    def __init__(self, labels: Sequence[str], seed: int) -> None:
        counts = sorted(Counter(labels).items())
        self.names, self.often = [name for name, _ in counts], [count for _, count in counts]
        self.seed = seed

    def labels(self, words: Sequence[str]) -> list[str]:
        drawn = {
            word: random.Random(f"{self.seed} {word}").choices(self.names, self.often)[0]
            for word in set(words)
        }
        return [drawn[word] for word in words]
