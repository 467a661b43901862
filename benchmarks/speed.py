"""Writes docs/speed.md with its figures and picture from what `qkv bench --json FILE` wrote.

qkv bench --json speed.json && python benchmarks/speed.py speed.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from common import ROOT, machine, save

from qkv.bench.table import duration

DOCS = ROOT / "docs"


def document(record: dict[str, Any]) -> str:
    """`docs/speed.md`."""
    about, limits = record["machine"], record["limits"]
    works: dict[str, list[dict[str, Any]]] = {}
    for result in record["results"]:
        works.setdefault(result["work"], []).append(result)
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    probed = ", ".join(f"{name} {_limit(name, peak)}" for name, peak in limits.items())
    reached = [target["reached"] for result in record["results"] for target in result["targets"]]
    return f"""# Speed

How many times as quick as each contender qkv is: all are checked against the oracle in float64,
then called in turn in one process, in another order each round; medians of up to
{record["settings"]["rounds"]} rounds. "share" is that of what the machine was found to do at best
({probed}).

Made by `qkv bench --json` on {about["processor"]}, {about["threads"]} threads, torch
{about["torch"]}, {packages}, Python {about["python"]},
commit {machine()["commit"]}; every sample is in [speed.json](speed.json). The machine is a small
virtual one whose neighbours take what they want: the same code varies by some ten percent from
hour to hour, ratios by less.

![Ratios as marks, a row for each case](speed.png)

Of the {len(reached)} targets that we set ourselves {reached.count(True)} are reached,
{reached.count(False)} are not (marked ✗ with the target), {reached.count(None)} could not be
measured.
{"".join(_section(work, results) for work, results in works.items())}"""


def _limit(name: str, peak: float) -> str:
    return f"{peak * 1e-9:,.0f} {'GB/s' if name.startswith('reading') else 'GFLOP/s'}"


def _section(work: str, results: list[dict[str, Any]]) -> str:
    """A table with a column for each contender that any of these cases has."""
    names: list[str] = []
    for result in results:
        names += [c["name"] for c in _others(result) if c["name"] not in names]
    lines = ["| case | qkv runs on | median | share | " + " | ".join(names) + " |"]
    lines.append("|---|---|---:|---:|" + "---:|" * len(names))
    for result in results:
        ours = result["contenders"][0]
        targets = {target["against"]: target for target in result["targets"]}
        found = {c["name"]: c for c in _others(result)}
        cells = [_ratio(found.get(name), targets.get(name)) for name in names]
        share = _share(ours["share"], targets.get(result["limit"]))
        start = [result["case"], result["implementation"], duration(ours["median"]), share]
        lines.append("| " + " | ".join([*start, *cells]) + " |")
    return f"\n## {work}\n\n" + "\n".join(lines) + "\n"


def _others(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for c in result["contenders"][1:] if c["ratio"] is not None]


def _ratio(contender: dict[str, Any] | None, target: dict[str, Any] | None) -> str:
    if contender is None:
        return ""
    return f"{contender['ratio']:.2f}" + _missed(target, lambda least: f"{least:.2g}")


def _share(share: float | None, target: dict[str, Any] | None) -> str:
    if share is None:
        return ""
    return f"{share:.0%}" + _missed(target, lambda least: f"{least:.0%}")


def _missed(target: dict[str, Any] | None, shown: Any) -> str:
    return "" if target is None or target["reached"] else f" ✗ {shown(target['at least'])}"


def main() -> None:
    """Reads the results, writes the page and its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="what `qkv bench --json` wrote")
    text = parser.parse_args().results.read_text()
    save(DOCS / "speed.md", document(json.loads(text)))
    save(DOCS / "speed.json", text)


if __name__ == "__main__":
    main()
