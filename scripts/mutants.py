"""Runs the tests against seeded mutants of the engine: each must turn them red.

    python scripts/mutants.py            all of them
    python scripts/mutants.py causal     those whose name holds a word
    python scripts/mutants.py --resume   only those without a verdict on the source as it is

Every mutant is one replacement in a temporary copy of the source. The working tree is not touched.
A mutant of the kernels is built in build/mutants, for one instruction set and with little
optimisation; what a replacement does not change is not built again. Verdicts go to
build/mutants/verdicts.tsv. Exits with 1 when a mutant survives, with 2 when one cannot be tried.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mutant_table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "mutants"
VERDICTS = BUILD / "verdicts.tsv"
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
    parser.add_argument("--resume", action="store_true", help="only mutants without a verdict")
    options = parser.parse_args()
    words, known = options.words, verdicts() if options.resume else {}
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    if not chosen:
        parser.error(f"no mutant's name holds any of: {', '.join(words)}")
    states = []
    for mutant in chosen:
        digest = digest_of(mutant)
        state = known.get(digest) or told(mutant, digest)
        states.append(state)
    count = states.count(CAUGHT)
    print(f"{count} of {len(states)} caught")
    return 2 if INVALID in states else 1 if SURVIVED in states else 0


def told(mutant: Mutant, digest: str) -> str:
    """Tries one mutant, prints its verdict and writes it down."""
    verdict = tried(mutant)
    print(f"{verdict.state:9} {verdict.seconds:4.0f} s  {mutant.breaks:22} {mutant.name}")
    if verdict.state != CAUGHT or verdict.detail:
        print(f"{'':18} {verdict.detail}")
    sys.stdout.flush()
    BUILD.mkdir(parents=True, exist_ok=True)
    with VERDICTS.open("a", encoding="utf-8") as file:
        file.write(f"{digest}\t{verdict.state}\t{verdict.seconds:.0f}\t{mutant.name}\n")
    return verdict.state


def verdicts() -> dict[str, str]:
    """The verdicts so far, by what was tried."""
    if not VERDICTS.exists():
        return {}
    rows = (line.split("\t") for line in VERDICTS.read_text(encoding="utf-8").splitlines())
    return {digest: state for digest, state, *_ in rows}


def digest_of(mutant: Mutant) -> str:
    """Says whether mutant, source and tests are those that a verdict was about."""
    files = [ROOT / "src" / "qkv" / mutant.file, *test_files(mutant)]
    parts = [repr(mutant).encode(), *(file.read_bytes() for file in files if file.exists())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def test_files(mutant: Mutant) -> list[Path]:
    """The files of a mutant's tests."""
    return [ROOT / "tests" / "engine" / test.partition("::")[0] for test in mutant.tests.split()]


def tried(mutant: Mutant) -> Verdict:
    """Runs a mutant's tests on a mutated copy of the source."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="qkv-mutant-") as folder:
        state, detail = mutated(mutant, Path(folder) / "src")
    return Verdict(state, detail, time.monotonic() - start)


def mutated(mutant: Mutant, source: Path) -> tuple[str, str]:
    """Copies the source, breaks the copy and runs its tests."""
    leave = shutil.ignore_patterns("__pycache__", "weights", "*.so")
    shutil.copytree(ROOT / "src", source, ignore=leave)
    (source / "sitecustomize.py").write_text(_PATH_FIRST)
    path = source / "qkv" / mutant.file
    text = path.read_text() if path.exists() else ""
    if text.count(mutant.old) != 1:
        return INVALID, f"{mutant.file} holds the text {text.count(mutant.old)} times, not once"
    path.write_text(text.replace(mutant.old, mutant.new))
    if mutant.with_kernels:
        # Without them they do not answer in place of what is mutated.
        kernels = built(source) if mutant.of_kernels else installed()
        if kernels is None:
            return INVALID, "the kernels cannot be built"
        shutil.copy(kernels, source / "qkv" / "native")
    return judged(mutant, source)


def installed() -> Path | None:
    """The compiled module of the environment."""
    printed = [sys.executable, "-c", "from qkv.native import _kernels; print(_kernels.__file__)"]
    done = subprocess.run(printed, cwd=ROOT, capture_output=True, text=True)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def built(source: Path) -> Path | None:
    """The compiled module of a copy of the source."""
    tree = BUILD / "tree"
    for path, text in wanted(source):
        there = tree / path
        if not there.exists() or there.read_text() != text:  # else it need not be built again
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text(text)
    nanobind = [sys.executable, "-m", "nanobind", "--cmake_dir"]
    found = subprocess.run(nanobind, capture_output=True, text=True, check=True).stdout.strip()
    python = f"-DPython_EXECUTABLE={sys.executable}"
    configure = ["cmake", "-S", tree, "-B", BUILD / "objects", f"-Dnanobind_DIR={found}", python]
    for command in (configure, ["cmake", "--build", BUILD / "objects"]):
        if subprocess.run(command, capture_output=True).returncode != 0:
            return None
    return next((BUILD / "objects").glob("_kernels*.so"), None)


def wanted(source: Path) -> Iterator[tuple[Path, str]]:
    """The sources, and a CMakeLists.txt that builds them for the plainest instruction set."""
    text = (ROOT / "CMakeLists.txt").read_text()
    text, found = re.subn(r"if\(CMAKE_SYSTEM_PROCESSOR MATCHES \"x86_64.*\)", "if(FALSE)", text)
    assert found == 1, "CMakeLists.txt has no other instruction sets in one place"
    yield Path("CMakeLists.txt"), text.replace(" -O3 ", " -O1 ")
    for path in sorted((source / "qkv" / "native" / "cpp").rglob("*")):
        if path.is_file():
            yield Path("src") / path.relative_to(source), path.read_text()


def judged(mutant: Mutant, source: Path) -> tuple[str, str]:
    """Runs the tests with a source folder in front of the installed package."""
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    imported = [sys.executable, "-c", "import qkv; print(qkv.__file__, qkv.implementations())"]
    place = subprocess.run(imported, env=environment, cwd=ROOT, capture_output=True, text=True)
    if str(source) not in place.stdout or ("'native': None" in place.stdout) != mutant.with_kernels:
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
