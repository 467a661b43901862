"""BLEU by sacrebleu (Papineni et al. 2002; Post 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from qkv.tasks.optional import needed
from qkv.tasks.tokens import are_chinese
from qkv.tasks.translation.pairs import Pair

_SEED = 12345


@dataclass(frozen=True)
class Bleu:
    """A score from 0 to 100; `low` and `high` bound its 95 % bootstrap interval, None where none
    was asked for. `signature` says how sacrebleu computed it."""

    score: float
    low: float | None
    high: float | None
    signature: str
    sentences: int

    def __str__(self) -> str:
        interval = "" if self.low is None else f" [{self.low:.1f}, {self.high:.1f}]"
        return f"BLEU {self.score:.1f}{interval} on {self.sentences} sentences ({self.signature})"


@dataclass(frozen=True)
class Comparison:
    """A translator's score, `other`'s on the same sentences, and the 95 % interval of how much the
    first is above the second, from `low` to `high`."""

    score: Bleu
    other: Bleu
    low: float
    high: float

    def __str__(self) -> str:
        above = self.score.score - self.other.score
        return (
            f"{self.score}\nagainst {self.other}\n"
            f"difference {above:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"
        )


def by_source(pairs: list[Pair]) -> dict[str, list[str]]:
    """Every distinct source with all its translations, in order of appearance."""
    references: dict[str, list[str]] = {}
    for source, target in pairs:
        references.setdefault(source, []).append(target)
    return references


def bleu(outputs: list[str], references: list[list[str]], *, bootstrap: int = 0) -> Bleu:
    """Corpus BLEU of one output a sentence against that sentence's references.

    Chinese is cut into characters (sacrebleu's `zh`), everything else as `13a` does. `bootstrap`
    resamples the sentences so many times for the interval.
    """
    metric = _metric(references)
    result = metric.corpus_score(outputs, _columns(references), n_bootstrap=bootstrap or 1)
    low = high = None
    if bootstrap:
        low, high = result._mean - result._ci, result._mean + result._ci
    return Bleu(result.score, low, high, str(metric.get_signature()), len(outputs))


def compare(
    outputs: list[str], others: list[str], references: list[list[str]], *, bootstrap: int = 1000
) -> Comparison:
    """The scores of two translators' outputs for the same sentences, as `bleu` gives them, and the
    interval of their difference over `bootstrap` resamplings of the sentences, the same for both
    (Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation")."""
    score, other = (bleu(texts, references, bootstrap=bootstrap) for texts in (outputs, others))
    metric = _metric(references)
    ones, twos = (_counts(metric, texts, references) for texts in (outputs, others))
    generator = torch.Generator().manual_seed(_SEED)
    differences = []
    for _ in range(bootstrap):
        rows = torch.randint(len(ones), (len(ones),), generator=generator)
        differences.append(_score(metric, ones[rows]) - _score(metric, twos[rows]))
    low, high = torch.tensor(differences).quantile(torch.tensor([0.025, 0.975])).tolist()
    return Comparison(score, other, low, high)


def _counts(metric: Any, outputs: list[str], references: list[list[str]]) -> Tensor:
    """What a score is computed of, for each sentence `[N, 2 + 2 * orders]`: the lengths of output
    and reference, the n-grams that are in a reference, and all n-grams."""
    rows = []
    for output, texts in zip(outputs, references, strict=True):
        found = metric.corpus_score([output], [[text] for text in texts])
        rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
    return torch.tensor(rows)


def _score(metric: Any, counts: Tensor) -> float:
    lengths, right, all_ = counts.sum(0).tensor_split([2, 2 + metric.max_ngram_order])
    smooth = metric.smooth_method
    return metric.compute_bleu(
        right.tolist(), all_.tolist(), *lengths.tolist(), smooth_method=smooth
    ).score


def _metric(references: list[list[str]]) -> Any:
    tokenize = "zh" if are_chinese(text for texts in references for text in texts) else "13a"
    return needed("sacrebleu.metrics").BLEU(tokenize=tokenize)


def _columns(references: list[list[str]]) -> list[list[str | None]]:
    """The first reference of every sentence, then the second; None where a sentence has fewer."""
    return [list(column) for column in zip_longest(*references)]
