"""Writes the page of a processor from what `qkv bench` measured there, and the list of all of them.

qkv bench --targets --json docs/speed/NAME.json --picture docs/speed/NAME.png
python benchmarks/speed.py NAME
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from common import ROOT, machine, save

from qkv.bench.table import duration

DOCS = ROOT / "docs"
PAGES = DOCS / "speed"
LIST = """# Speed

How many times as quick as others qkv is depends on the processor, so each that was measured has a
page of its own. `qkv bench` measures yours.

| page | processor | torch uses | torch | targets reached |
|---|---|---|---|---:|
"""
CHOICE = """
Of plain attention `impl="auto"` takes torch's kernels where they were measured to be quicker than
qkv's, each asked through qkv: [the table](../src/qkv/native/quicker.json) has torch's time as a
multiple of that of qkv's kernels, by instruction set, type, mask, pass, width, queries and keys.
What takes less than 0.97 of it is quicker; `A.plan()` says so. `qkv bench --choose` makes the rows
of your machine, and from then on your installation goes by them.
"""
FLAGS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 and bfloat16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}


def document(record: dict[str, Any], name: str, remark: str) -> str:
    """A page of `docs/speed`."""
    about, limits = record["machine"], record["limits"]
    works: dict[str, list[dict[str, Any]]] = {}
    for result in record["results"]:
        works.setdefault(result["work"], []).append(result)
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    probed = ", ".join(f"{name} {_limit(name, peak)}" for name, peak in limits.items())
    reached = [target["reached"] for result in record["results"] for target in result["targets"]]
    return f"""# Speed: {_named(about)}

How many times as quick as each contender qkv is: all are checked against the oracle in float64,
then called in turn in one process, in another order each round; medians of up to
{record["settings"]["rounds"]} rounds. "share" is that of what the machine was found to do at best
({probed}).

Made by `qkv bench --json` on {about["processor"]}, {about["threads"]} threads, torch
{about["torch"]}, {packages}, Python {about["python"]},
commit {machine()["commit"]}; every sample is in [{name}.json]({name}.json). The machine is a small
virtual one whose neighbours take what they want: the same code varies by some ten percent from
hour to hour, ratios by less. {remark}

![Ratios as marks, a row for each case]({name}.png)

Of the {len(reached)} targets that we set ourselves {reached.count(True)} are reached,
{reached.count(False)} are not (marked ✗ with the target), {reached.count(None)} could not be
measured.
{"".join(_section(work, results) for work, results in works.items())}"""


def _named(about: dict[str, Any]) -> str:
    """The maker of a processor and the widest instructions that it has."""
    maker = about["processor"].split("(")[0].split()[0]
    sets = [text for flag, text in FLAGS.items() if flag in about["instruction sets"]]
    return f"{maker} with {sets[0]}" if sets else str(about["processor"])


def listed() -> str:
    """`docs/speed.md`."""
    lines = []
    for path in sorted(PAGES.glob("*.json")):
        record = json.loads(path.read_text())
        about = record["machine"]
        reached = [
            target["reached"] for result in record["results"] for target in result["targets"]
        ]
        cells = [
            f"[{_named(about)}](speed/{path.stem}.md)", about["processor"], about["torch uses"],
            about["torch"], f"{reached.count(True)} of {len(reached)}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return LIST + "\n".join(lines) + "\n" + CHOICE


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
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="of the results, docs/speed/NAME.json")
    parser.add_argument("--remark", default="", help="a sentence on how they came about")
    options = parser.parse_args()
    record = json.loads((PAGES / f"{options.name}.json").read_text())
    save(PAGES / f"{options.name}.md", document(record, options.name, options.remark))
    save(DOCS / "speed.md", listed())


if __name__ == "__main__":
    main()
