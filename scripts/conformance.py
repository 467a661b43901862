"""Runs the test suites of others that apply to qkv, and writes what came out.

    python scripts/conformance.py                    # docs/conformance.json and docs/conformance.md
    python scripts/conformance.py --only onnx_nodes  # this suite alone; writes nothing

Suites stand in `scripts/suites`, a file each. One whose packages are not installed is skipped, and
then nothing is written: `pip install --group conformance`. Exits with 1 where a case fails
without an explanation on the page, or a suite is skipped.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from suites import FAILED, PASSED, REFUSED, SUITES, Outcome, outcome

from qkv.ground.files import write_together

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "conformance.md"
COUNTS = PAGE.with_suffix(".json")

# Failed cases that are none of ours to mend: a pattern of their names, and why.
EXPLAINED = {
    r"_fp16, impl=(auto|torch)$": (
        "a place of float16 apart: ONNX computed its answers in float16, torch's fused kernel "
        "rounds weights to it, and the case allows 0.001, hardly a place"
    )
}

TEXT = """\
# Conformance

The test suites of others, as far as they ask for what qkv has: cases that a library brings along
and, where it brings none that can be taken, calls that were written here and that the library
answers. A case passes where qkv gives the same answer, gradients included where there are some; it
is refused where qkv has nothing for it, or where the implementation that it names says that it
cannot; all else has failed. `make conformance` runs them and writes this page.

{table}

{suites}
"""
HEAD = ("suite", "answers by", "asked by", "cases", "passed", "refused", "failed")
UNSERVED = re.compile(r"^attention: (impl=\"\w+\") cannot serve this request: (.*?); these can.*$")


def missing(suite: ModuleType) -> str | None:
    """Why a suite cannot run."""
    for package in suite.PACKAGES:
        try:
            version(package)
        except PackageNotFoundError:
            return f"{package} is not installed: pip install --group conformance"
    return None


def answering(suite: ModuleType) -> str:
    """The package that gives a suite's answers, with its version."""
    package = suite.PACKAGES[0]
    return f"{package} {version(package).partition('+')[0]}"


def counted(suite: ModuleType, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """What came out of a suite, as the page tells it."""
    outcomes = list(outcomes)
    refused = Counter(shortened(one.reason) for one in outcomes if one.status == REFUSED)
    return {
        "answers by": answering(suite),
        "cases": len(outcomes),
        PASSED: sum(one.status == PASSED for one in outcomes),
        REFUSED: dict(sorted(refused.items(), key=lambda item: (-item[1], item[0]))),
        FAILED: {one.name: one.reason for one in outcomes if one.status == FAILED},
    }


def shortened(reason: str) -> str:
    """The reason of an implementation without what could serve instead."""
    return UNSERVED.sub(r"`\1`: \2", reason)


def page(counts: dict[str, dict[str, Any]]) -> str:
    """The page that tells of the counts of every suite."""
    lines = [line(*HEAD), line(*["---"] * len(HEAD))]
    lines += [line(*row(suite, counts[suite.NAME])) for suite in SUITES]
    parts = [part(suite, counts[suite.NAME]) for suite in SUITES]
    return TEXT.format(table="\n".join(lines), suites="\n\n".join(parts))


def row(suite: ModuleType, found: dict[str, Any]) -> list[str]:
    """A suite's line of the table."""
    numbers = found["cases"], found[PASSED], sum(found[REFUSED].values()), len(found[FAILED])
    return [suite.NAME, found["answers by"], suite.ASKED_BY, *map(str, numbers)]


def part(suite: ModuleType, found: dict[str, Any]) -> str:
    """What the page says of a suite: what it is, what is refused, what failed."""
    lines = [f"## {suite.NAME}", "", (suite.__doc__ or "").strip(), ""]
    if found[REFUSED]:
        lines += [line("refused", "cases"), line("---", "---")]
        lines += [line(reason, str(n)) for reason, n in found[REFUSED].items()]
    else:
        lines += ["Nothing is refused."]
    if found[FAILED]:
        lines += ["", line("failed", "why"), line("---", "---")]
        lines += [line(name, explained(name) or reason) for name, reason in found[FAILED].items()]
    return "\n".join(lines)


def explained(name: str) -> str | None:
    """Why a case is known to fail."""
    return next((why for pattern, why in EXPLAINED.items() if re.search(pattern, name)), None)


def line(*cells: str) -> str:
    """Cells of a table."""
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = {suite.__name__.rpartition(".")[-1]: suite for suite in SUITES}
    parser.add_argument("--only", choices=known, help="one suite, and write nothing; default: all")
    only = parser.parse_args().only
    chosen = [known[only]] if only else SUITES
    counts: dict[str, dict[str, Any]] = {}
    for suite in chosen:
        reason = missing(suite)
        if reason is not None:
            print(f"{suite.NAME}: skipped, for {reason}")
            continue
        found = counts[suite.NAME] = counted(suite, map(outcome, suite.cases()))
        print(line(*row(suite, found)), flush=True)
        for name, why in found[FAILED].items():
            print(f"  failed: {name}: {explained(name) or why}")
    if len(counts) == len(SUITES):
        whole = json.dumps(counts, indent=1, ensure_ascii=False) + "\n"
        write_together(PAGE.parent, {COUNTS.name: whole.encode(), PAGE.name: page(counts).encode()})
    failed = [name for found in counts.values() for name in found[FAILED] if not explained(name)]
    return 1 if failed or len(counts) < len(chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
