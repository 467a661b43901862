"""Does doubt tell of mistakes? Needs what `.[tasks]` brings.

    python benchmarks/doubt.py FILE.tsv ... [--model DIR] [--json FILE]

Each file holds lines of `source<TAB>translation`; a sentence with several translations counts once.
Printed is a table: chrF of each sentence with its best reference (Popović 2015), averaged over all,
over those that `translation.doubt` says nothing of, and over those that it names, with how many
these are. Below stands how well three signs rank the sentences: the share of pairs of a sentence of
the worst fifth by chrF and another one in which the worst has more of the sign (the area under the
ROC curve: 50 % is chance), with its 95 % interval by bootstrap over the sentences.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from common import machine, save
from torch import Tensor

from qkv._extras import needed
from qkv.tasks.translation import Translation, Translator
from qkv.tasks.translation.bleu import by_source
from qkv.tasks.translation.pairs import read_pairs

WORST = 0.2
RESAMPLED = 1000
SIGNS = {
    "doubted": lambda one: float(bool(one.doubt)),
    "number of doubts": lambda one: float(len(one.doubt)),
    "score, lowest first": lambda one: -min((part.score for part in one.sentences), default=0.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, help="default: the one that ships")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    translator = Translator.load(given.model)
    found = {file.stem: figures(*measured(translator, file)) for file in given.files}
    print(table(found))
    if given.json:
        save(given.json, json.dumps({"machine": machine(), "figures": found}, indent=1) + "\n")


def measured(translator: Translator, file: Path) -> tuple[list[Translation], Tensor]:
    """The translations of the sources of a file, and the chrF of each."""
    metric = needed("sacrebleu.metrics").CHRF()
    references = by_source(read_pairs(file).pairs)
    found = translator.translate(list(references))
    each = zip(found, references.values(), strict=True)
    return found, torch.tensor(
        [metric.sentence_score(one.text, texts).score for one, texts in each]
    )


def figures(translations: list[Translation], scores: Tensor) -> dict[str, Any]:
    """Mean scores and counts of all and of parts of them; how well each sign ranks them."""
    reasons = sorted({reason for one in translations for reason in one.doubt})
    parts = {
        "all": [True for _ in translations],
        "no doubt": [not one.doubt for one in translations],
        "any doubt": [bool(one.doubt) for one in translations],
    } | {f"– {reason}": [reason in one.doubt for one in translations] for reason in reasons}
    means: dict[str, Any] = {}
    for name, chosen in parts.items():
        some = scores[torch.tensor(chosen)]
        means[name] = {"count": len(some), "chrf": float(some.mean()) if len(some) else None}
    is_bad = scores < scores.quantile(WORST)
    ranks = {
        name: area_and_interval(torch.tensor([sign(one) for one in translations]), is_bad)
        for name, sign in SIGNS.items()
    }
    return {"means": means, "ranks": ranks}


def area(sign: Tensor, is_bad: Tensor) -> float:
    """The share of pairs of a bad sentence and another in which the bad one has more of the sign;
    where both have it alike, a pair is half of one. NaN where all are bad, or none."""
    others = sign[~is_bad].sort().values
    if not len(others):
        return float("nan")
    below, up_to = (torch.searchsorted(others, sign[is_bad], right=r) for r in (False, True))
    return float((below + up_to).double().mean() / 2 / len(others))


def area_and_interval(sign: Tensor, is_bad: Tensor) -> list[float]:
    """The area, and from the 2.5th to the 97.5th percentile of those of resampled sentences."""
    generator = torch.Generator().manual_seed(12345)
    rows = torch.randint(len(sign), (RESAMPLED, len(sign)), generator=generator)
    areas = torch.tensor([area(sign[row], is_bad[row]) for row in rows], dtype=torch.float64)
    bounds = areas.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return [area(sign, is_bad), *bounds.tolist()]


def table(found: dict[str, dict[str, Any]]) -> str:
    """In the form of a model's card, a file a column."""
    lines = [["", *found], ["---"] * (len(found) + 1)]
    names = dict.fromkeys(name for figure in found.values() for name in figure["means"])
    for name in names:
        cells = [figure["means"].get(name, {"count": 0}) for figure in found.values()]
        lines.append([name, *(mean(cell) for cell in cells)])
    for name in SIGNS:
        areas = [[100 * part for part in figure["ranks"][name]] for figure in found.values()]
        lines.append([name, *(f"{at:.0f} % [{low:.0f}, {high:.0f}]" for at, low, high in areas)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean(cell: dict[str, Any]) -> str:
    return f"{cell['chrf']:.1f} ({cell['count']:,})" if cell["count"] else "none"


if __name__ == "__main__":
    main()
