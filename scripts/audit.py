"""Asks the package registry which of the installed packages have known vulnerabilities.

    python scripts/audit.py .venv       # of the packages of this virtual environment

By pip-audit, which is installed for the while. Exits with 1 where a package has one. A registry
that only mirrors packages knows of none, and one may be out of reach: then it is said that nobody
was asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

AUDITOR = "pip-audit==2.10.1"


def found(environment: Path) -> list[dict[str, Any]]:
    """What pip-audit says of each package of an environment.

    Raises:
        RuntimeError: it cannot be installed, or says nothing.
    """
    (packages,) = environment.glob("lib/python*/site-packages")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        install = [python, "-m", "pip", "install", "--quiet", AUDITOR]
        if subprocess.run(install, check=False).returncode:
            raise RuntimeError(f"{AUDITOR} cannot be installed")
        options = ["--path", str(packages), "--format", "json", "--progress-spinner", "off"]
        done = subprocess.run(
            [python, "-m", "pip_audit", *options], capture_output=True, text=True, check=False
        )
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        raise RuntimeError(f"pip-audit says {done.stderr.strip()[-500:]!r}") from error


def vulnerable(packages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each known vulnerability."""
    for package in packages:
        for one in package.get("vulns", ()):
            mended = ", ".join(one["fix_versions"]) or "no version"
            yield f"{package['name']} {package['version']}: {one['id']}, mended in {mended}"


def summary(packages: Sequence[Mapping[str, Any]]) -> str:
    """How many packages were asked about."""
    skipped = sum("skip_reason" in package for package in packages)
    asked = f"audit: {len(packages) - skipped} of {len(packages)} packages were asked about"
    return f"{asked}; of the others the registry says nothing" if skipped else asked


def main(environment: str) -> int:
    try:
        packages = found(Path(environment))
    except RuntimeError as error:
        print(f"audit: not done: {error}")
        return 0
    lines = list(vulnerable(packages))
    print(*lines, summary(packages), sep="\n")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
