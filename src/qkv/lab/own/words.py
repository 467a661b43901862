"""Recommendations in words: what is best, what cannot be told from it, what is worse but faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qkv.lab.intervals import Interval, Scores, difference, interval
from qkv.lab.verdicts import Finding, above_zero, level


@dataclass(frozen=True)
class Recommendation:
    """The best of some models, what to take in words, and how much each other is below the best."""

    best: str
    words: str
    gaps: Mapping[str, Interval]

    def finding(self, points: str) -> Finding:
        """The claim that one is better than all others."""
        gaps = list(self.gaps.values())
        told = ", ".join(f"{gap} above {name}" for name, gap in self.gaps.items())
        return Finding(
            "One architecture is better on these data than all others.",
            f"{_first(self.best)}, in {points}: {told}.",
            above_zero(*gaps),
            gaps,
        )


def recommendation(
    scores: Mapping[str, Scores], seconds: Mapping[str, float], unit: str, points: str
) -> Recommendation:
    """Which of the models to take.

    Args:
        scores: of each model, in the same unit, higher is better.
        seconds: of training each.
        unit, points: what a score and a difference are in, such as "%" and "points".
    """
    best = max(scores, key=lambda name: float(scores[name].of_seeds().mean()))
    others = [name for name in scores if name != best]
    pairs = len(scores) * len(others) // 2  # which of them is the best was not known before
    gaps = {name: difference(scores[best], scores[name], level(pairs)) for name in others}
    alike = [name for name in others if gaps[name].low <= 0]
    worse = [name for name in others if gaps[name].low > 0]
    quickest = min([best, *alike], key=lambda name: seconds[name])
    said = [f"{_first(best)} is the best here: {interval(scores[best])} {unit}."]
    if alike:
        told = f"{_listed([best, *alike])} cannot be told apart here"
        ranges = ", ".join(f"{name} {gaps[name]} {points} worse" for name in alike)
        said.append(f"{told} ({ranges}).")
    said += [
        f"{_first(name)} is {gaps[name]} {points} worse and {_pace(seconds[best], seconds[name])}."
        for name in worse
    ]
    if quickest == best:
        said.append(f"Take {_article(best)}.")
    else:
        times, most = seconds[best] / seconds[quickest], gaps[quickest].high
        said.append(
            f"Of those that cannot be told apart {_article(quickest)} trains {times:.1f} times as "
            f"fast as {_article(best)}: take that, or {_article(best)} where up to {most:.1f} "
            f"{points} are worth the time."
        )
    return Recommendation(best, " ".join(said), gaps)


def _pace(own: float, other: float) -> str:
    if other <= own:
        return f"trains {own / other:.1f} times as fast"
    return f"takes {other / own:.1f} times as long to train"


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return _first(f"{', '.join(most)} and {last}")


def _article(name: str) -> str:
    return f"the {name}" if name[0].isupper() or name == "hybrid" else name


def _first(text: str) -> str:
    return text[0].upper() + text[1:]
