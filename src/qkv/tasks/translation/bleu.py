"""BLEU and chrF by sacrebleu (Papineni et al. 2002; Popović 2015; Post 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from qkv._extras import needed
from qkv.tasks.tokens import are_chinese, are_unspaced
from qkv.tasks.translation.pairs import Pair

_SEED = 12345
TOO_SHORT = "most references are too short for BLEU, which counts four tokens in a row"


@dataclass(frozen=True)
class Chrf:
    """A score from 0 to 100; `signature` says how sacrebleu computed it."""

    score: float
    signature: str

    def __str__(self) -> str:
        return f"chrF {self.score:.1f} ({self.signature})"


@dataclass(frozen=True)
class Bleu:
    """A score from 0 to 100. `low` and `high` bound its 95 % interval; both are None without one.
    `signature` says how sacrebleu computed the score. `chrf` is given if most references are too
    short for BLEU (see `are_long_enough`), else None."""

    score: float
    low: float | None
    high: float | None
    signature: str
    sentences: int
    chrf: Chrf | None = None

    def __str__(self) -> str:
        interval = "" if self.low is None else f" [{self.low:.1f}, {self.high:.1f}]"
        told = f"BLEU {self.score:.1f}{interval} on {self.sentences} sentences ({self.signature})"
        return told if self.chrf is None else f"{told}; {TOO_SHORT}: {self.chrf}"


@dataclass(frozen=True)
class Comparison:
    """The scores of two translators on the same sentences, and the 95 % interval of the difference
    `score` minus `other`, from `low` to `high`."""

    score: Bleu
    other: Bleu
    low: float
    high: float

    def __str__(self) -> str:
        one, other = self.score, self.other
        if one.chrf is not None and other.chrf is not None:  # where BLEU tells no difference
            above = f"of chrF {one.chrf.score - other.chrf.score:+.1f}"
        else:
            above = f"{one.score - other.score:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"
        return f"{one}\nagainst {other}\ndifference {above}"


def by_source(pairs: list[Pair]) -> dict[str, list[str]]:
    """Every distinct source with all its translations, in order of appearance."""
    references: dict[str, list[str]] = {}
    for source, target in pairs:
        references.setdefault(source, []).append(target)
    return references


def bleu(outputs: list[str], references: list[list[str]], *, bootstrap: int = 0) -> Bleu:
    """Corpus BLEU of one output a sentence against that sentence's references.

    Chinese is cut into characters (sacrebleu's `zh`), and so are other scripts without spaces
    (`char`); everything else as `13a` does. The interval is from the 2.5th to the 97.5th percentile
    of the scores of `bootstrap` resamplings of the sentences (Koehn 2004), so it never leaves the
    range of scores.
    """
    metric = _metric(references)
    score = metric.corpus_score(outputs, _columns(references)).score
    low = high = None
    if bootstrap:
        metric.n_bootstrap, metric.seed = bootstrap, _SEED  # what the signature says of it
        [scores] = _resampled(metric, [_counts(metric, outputs, references)], bootstrap)
        low, high = _interval(scores)
    short = None if are_long_enough(references) else chrf(outputs, references)
    return Bleu(score, low, high, str(metric.get_signature()), len(outputs), short)


def chrf(outputs: list[str], references: list[list[str]]) -> Chrf:
    """Corpus chrF, the F-score of runs of up to six characters (Popović 2015), of one output a
    sentence against that sentence's references."""
    metric = needed("sacrebleu.metrics").CHRF()
    score = metric.corpus_score(outputs, _columns(references)).score
    return Chrf(score, str(metric.get_signature()))


def are_long_enough(references: list[list[str]]) -> bool:
    """Whether BLEU has something to count in at least half of the sentences: four tokens. Where it
    has not, it is 0 or says little, however good the outputs are."""
    counts = _counts(_metric(references), [texts[0] for texts in references], references)
    return int((counts[:, -1] > 0).sum()) * 2 >= len(counts)


def compare(
    outputs: list[str], others: list[str], references: list[list[str]], *, bootstrap: int = 1000
) -> Comparison:
    """The scores of two translators' outputs for the same sentences, as `bleu` gives them, and the
    interval of their difference over `bootstrap` resamplings of the sentences, the same for both
    (Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation")."""
    score, other = (bleu(texts, references, bootstrap=bootstrap) for texts in (outputs, others))
    metric = _metric(references)
    ones, twos = (_counts(metric, texts, references) for texts in (outputs, others))
    first, second = _resampled(metric, [ones, twos], bootstrap)
    low, high = _interval(first - second)
    return Comparison(score, other, low, high)


def sentence_counts(outputs: list[str], references: list[list[str]]) -> Tensor:
    """What BLEU is computed of, for each sentence `[N, K]`: sums of rows are that of a corpus."""
    return _counts(_metric(references), outputs, references)


def score_of(counts: Tensor) -> Tensor:
    """BLEU `[...]` of summed counts `[..., K]`."""
    metric = needed("sacrebleu.metrics").BLEU()
    scores = [_score(metric, row.unsqueeze(0)) for row in counts.flatten(0, -2).round().long()]
    return torch.tensor(scores, dtype=torch.float64).reshape(counts.shape[:-1])


def _resampled(metric: Any, counts: list[Tensor], bootstrap: int) -> Tensor:
    """The scores `[len(counts), bootstrap]` of resamplings of the sentences, the same for all."""
    generator = torch.Generator().manual_seed(_SEED)
    sentences = len(counts[0])
    draws = (torch.randint(sentences, (sentences,), generator=generator) for _ in range(bootstrap))
    return torch.tensor([[_score(metric, some[rows]) for some in counts] for rows in draws]).mT


def _interval(scores: Tensor) -> list[float]:
    """From the 2.5th to the 97.5th percentile."""
    return scores.quantile(torch.tensor([0.025, 0.975], dtype=scores.dtype)).tolist()


def _counts(metric: Any, outputs: list[str], references: list[list[str]]) -> Tensor:
    """What a score is computed of, for each sentence `[N, 2 + 2 * orders]`: the lengths of output
    and reference, the n-grams that are in a reference, and all n-grams."""
    rows = []
    for output, texts in zip(outputs, references, strict=True):
        score = metric.corpus_score([output], [[text] for text in texts])
        rows.append([score.sys_len, score.ref_len, *score.counts, *score.totals])
    return torch.tensor(rows)


def _score(metric: Any, counts: Tensor) -> float:
    lengths, right, all_ = counts.sum(0).tensor_split([2, 2 + metric.max_ngram_order])
    smooth = metric.smooth_method
    return metric.compute_bleu(
        right.tolist(), all_.tolist(), *lengths.tolist(), smooth_method=smooth
    ).score


def _metric(references: list[list[str]]) -> Any:
    every = [text for texts in references for text in texts]
    tokenize = "zh" if are_chinese(every) else "char" if are_unspaced(every) else "13a"
    return needed("sacrebleu.metrics").BLEU(tokenize=tokenize)


def _columns(references: list[list[str]]) -> list[list[str | None]]:
    """The first reference of every sentence, then the second; None where a sentence has fewer."""
    return [list(column) for column in zip_longest(*references)]
