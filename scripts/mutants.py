"""Runs the tests against seeded mutants of the engine: each must turn them red.

    python scripts/mutants.py            all of them
    python scripts/mutants.py causal     those whose name holds a word

Every mutant is one replacement in a temporary copy of the source. The working tree is not touched.
Exits with 1 when a mutant survives, with 2 when one cannot be tried.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mutant_table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 600  # for the tests of one mutant; a mutant that hangs them is caught as well

CAUGHT, SURVIVED, INVALID = "caught", "SURVIVED", "INVALID"

# An editable install finds its package before the path is looked at.
_PATH_FIRST = """import sys
sys.meta_path = [f for f in sys.meta_path if not type(f).__module__.startswith("_editable_")]
"""


@dataclass(frozen=True)
class Verdict:
    """What the tests said about a mutant."""

    state: str
    detail: str
    seconds: float


def main() -> int:
    """Tries the chosen mutants and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", help="only mutants whose name holds one of these")
    words = parser.parse_args().words
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    if not chosen:
        parser.error(f"no mutant's name holds any of: {', '.join(words)}")
    states = []
    for mutant in chosen:
        verdict = tried(mutant)
        states.append(verdict.state)
        print(f"{verdict.state:9} {verdict.seconds:4.0f} s  {mutant.breaks:22} {mutant.name}")
        if verdict.state != CAUGHT or verdict.detail:
            print(f"{'':18} {verdict.detail}")
        sys.stdout.flush()
    count = states.count(CAUGHT)
    print(f"{count} of {len(states)} caught")
    return 2 if INVALID in states else 1 if SURVIVED in states else 0


def tried(mutant: Mutant) -> Verdict:
    """Runs a mutant's tests on a mutated copy of the source."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="qkv-mutant-") as folder:
        source = Path(folder) / "src"
        # Without the compiled kernels, which would answer in place of what is mutated.
        leave = shutil.ignore_patterns("__pycache__", "weights", "*.so")
        shutil.copytree(ROOT / "src", source, ignore=leave)
        (source / "sitecustomize.py").write_text(_PATH_FIRST)
        path = source / "qkv" / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            found = f"{mutant.file} holds the text {text.count(mutant.old)} times, not once"
            return Verdict(INVALID, found, 0.0)
        path.write_text(text.replace(mutant.old, mutant.new))
        state, detail = judged(mutant, source)
    return Verdict(state, detail, time.monotonic() - start)


def judged(mutant: Mutant, source: Path) -> tuple[str, str]:
    """Runs the tests with a source folder in front of the installed package."""
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    imported = [sys.executable, "-c", "import qkv; print(qkv.__file__)"]
    place = subprocess.run(imported, env=environment, cwd=ROOT, capture_output=True, text=True)
    if str(source) not in place.stdout:
        return INVALID, f"the copy is not what is imported: {place.stdout or place.stderr}"
    tests = [f"tests/engine/{test}" for test in mutant.tests.split()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return CAUGHT, "its tests did not end"
    if done.returncode == 1:
        return CAUGHT, ""
    if done.returncode == 0:
        return SURVIVED, f"{mutant.file}: {mutant.old.strip()!r} -> {mutant.new.strip()!r}"
    return INVALID, "; ".join(done.stdout.strip().splitlines()[-3:])


if __name__ == "__main__":
    sys.exit(main())
