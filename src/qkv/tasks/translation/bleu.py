"""BLEU by sacrebleu (Papineni et al. 2002; Post 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from qkv.tasks.optional import needed
from qkv.tasks.tokens import are_chinese
from qkv.tasks.translation.pairs import Pair


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
    tokenize = "zh" if are_chinese(text for texts in references for text in texts) else "13a"
    metric = needed("sacrebleu.metrics").BLEU(tokenize=tokenize)
    columns = [list(column) for column in zip_longest(*references)]
    result = metric.corpus_score(outputs, columns, n_bootstrap=bootstrap or 1)
    low = high = None
    if bootstrap:
        low, high = result._mean - result._ci, result._mean + result._ci
    return Bleu(result.score, low, high, str(metric.get_signature()), len(outputs))
