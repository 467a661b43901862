"""Writes the page of architectures: what of each can be captured, and which the drop-in serves.

    python scripts/architecture_table.py          # writes docs/architectures.md
    python scripts/architecture_table.py --check  # exits with 1 where the page is another

The table is the one that the tests in `tests/architectures` go through row by row.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architectures.md"
sys.path.insert(0, str(ROOT / "tests"))

from architectures import ARCHITECTURES, Architecture  # noqa: E402 - it stands beside the tests
from architectures.architecture import BY_ITSELF, VERSION  # noqa: E402

TEXT = """\
# Architectures

What [`qkv.observe`](capture.md) sees of architectures of Hugging Face transformers, and which run
by `attn_implementation="qkv"`. Each row is tested with a tiny model of random weights and
transformers {version} (`.venv/bin/pytest tests/architectures`).

* **captured**: unpadded, and padded on each side on which it may be, the outputs are the same bits
  with and without a capture; each call's matrix holds the weights of the eager path to 1e-5, and
  its residual is below 1e-5. Calls that are no matrix of queries by keys stand in `capture.missed`.
* **drop-in**: logits, the weights that `output_attentions=True` returns, gradients, and the tokens
  written with a dynamic and a static cache are those of eager. The others are refused. The number
  counts the calls that ask transformers for their function; the rest it computes by itself.

Of {all} architectures {attending} attend. All calls of {captured} are captured, some of {partly}
more. {served} run by the drop-in.

{table}
"""
HEAD = ("architecture", "class", "captured", "drop-in", "remarks")
REASONS = {
    BY_ITSELF: "never calls it",
    "which keys each query may see": "keys by index",
    "from a table of its own": "classes by name",
}


def captured(entry: Architecture) -> str:
    """What a capture holds of its calls."""
    if not entry.calls:
        return "–"
    seen = entry.calls - entry.missed
    share = "yes" if not entry.missed else "in part" if seen else "no"
    return f"{share}, {seen} of {entry.calls}"


def served(entry: Architecture) -> str:
    """Whether the drop-in runs it, or why not."""
    if not entry.calls:
        return "–"
    if entry.refused:
        return f"refused: {REASONS[entry.refused]}"
    return f"yes, {entry.calls - entry.own} of {entry.calls}"


def row(entry: Architecture) -> str:
    """A line of the table."""
    name = entry.model.rpartition(".")[-1]
    return line(entry.name, f"`{name}`", captured(entry), served(entry), entry.remark)


def line(*cells: str) -> str:
    """Cells of a table."""
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The whole page."""
    attending = [entry for entry in ARCHITECTURES if entry.calls]
    lines = [line(*HEAD), line(*["---"] * len(HEAD))]
    lines += [row(entry) for entry in sorted(ARCHITECTURES, key=lambda entry: entry.name.lower())]
    return TEXT.format(
        version=VERSION,
        all=len(ARCHITECTURES),
        attending=len(attending),
        captured=sum(not entry.missed for entry in attending),
        partly=sum(0 < entry.missed < entry.calls for entry in attending),
        served=sum(not entry.refused for entry in attending),
        table="\n".join(lines),
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if it is another"
    )
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE} is not what python scripts/architecture_table.py writes")


if __name__ == "__main__":
    main()
