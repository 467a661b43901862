"""How many translations keep what stands in the source in digits, addresses and Latin names.
Needs what `.[tasks]` brings.

    python benchmarks/numbers_kept.py [FILE.tsv ...] [--model DIR] [--against DIR] [--json FILE]

Each file holds lines of `source<TAB>translation`; default: tests/data/en-zh-numbers.tsv. Counted
are the sentences that hold figures or an address, or a Latin word that their translation in the
file has too; such a sentence is kept where all of it arrives. A figure arrives by what it means:
`qkv.tasks.translation.numbers`, which the doubt "numbers lost" asks too. Those that lost something
are listed with what they lost.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import NamedTuple

from common import ROOT, machine, save

from qkv.tasks.classification.accuracy import Accuracy
from qkv.tasks.translation import Translator
from qkv.tasks.translation.numbers import lost
from qkv.tasks.translation.pairs import Pair, read_pairs

SENTENCES = ROOT / "tests" / "data" / "en-zh-numbers.tsv"
_LATIN = re.compile(r"[A-Za-z]{2,}", re.ASCII)


class Kept(NamedTuple):
    """A sentence, its translation, and what it lost."""

    source: str
    text: str
    gone: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, default=[SENTENCES])
    parser.add_argument("--model", type=Path, help="default: the one that ships")
    parser.add_argument("--against", type=Path, help="another model, for what one of the two loses")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = {}
    for file in given.files:
        pairs = [pair for pair in read_pairs(file).pairs if asks(pair)]
        models = [given.model, *([given.against] if given.against else [])]
        results = [kept(pairs, Translator.load(model)) for model in models]
        for name, sentences in zip(("model", "against"), results, strict=False):
            print(f"{file.name}, {name}: {figure(sentences)}")
        print(listing(*results))
        found[file.name] = [[one._asdict() for one in sentences] for sentences in results]
    if given.json:
        save(given.json, json.dumps({"machine": machine(), "sentences": found}, indent=1) + "\n")


def asks(pair: Pair) -> bool:
    """Whether there is something to keep."""
    return bool(lost(pair.source, "") or names(pair))


def names(pair: Pair) -> list[str]:
    """The Latin words that stand on both sides."""
    there = {word.lower() for word in _LATIN.findall(pair.target)}
    return [word for word in _LATIN.findall(pair.source) if word.lower() in there]


def kept(pairs: list[Pair], translator: Translator) -> list[Kept]:
    translations = translator.translate([pair.source for pair in pairs])
    rows = []
    for pair, translation in zip(pairs, translations, strict=True):
        there = {word.lower() for word in _LATIN.findall(translation.text)}
        gone = lost(pair.source, translation.text)
        gone += [word for word in names(pair) if word.lower() not in there]
        rows.append(Kept(pair.source, translation.text, gone))
    return rows


def figure(sentences: list[Kept]) -> str:
    """The share that is kept, with its 95 % interval."""
    right = sum(not one.gone for one in sentences)
    low, high = (100 * bound for bound in Accuracy(right, len(sentences), {}).interval)
    share = 100 * right / len(sentences)
    return f"{right} of {len(sentences)} kept, {share:.1f} % [{low:.1f}, {high:.1f}]"


def listing(sentences: list[Kept], others: list[Kept] | None = None) -> str:
    """What is lost; of two models, where one of them alone loses."""
    lines = []
    for one, other in zip(sentences, others or sentences, strict=True):
        if others is None and one.gone:
            lines.append(f"  {', '.join(one.gone)}\t{one.source}\t{one.text}")
        elif bool(one.gone) != bool(other.gone):
            which, worse = ("model", one) if one.gone else ("against", other)
            lines.append(f"  {which} loses {', '.join(worse.gone)}\t{one.source}\t{worse.text}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
