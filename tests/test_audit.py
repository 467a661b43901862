"""What the audit of installed packages says, of answers as pip-audit gives them."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import audit  # noqa: E402 - it stands beside the tests

SOUND = {"name": "sound", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}
BAD = {
    "name": "bad",
    "version": "0.9",
    "vulns": [
        {"id": "PYSEC-1", "fix_versions": ["1.0", "0.9.1"], "aliases": [], "description": ""},
        {"id": "PYSEC-2", "fix_versions": [], "aliases": [], "description": ""},
    ],
}


@pytest.mark.parametrize(
    ("packages", "status", "told"),
    [
        ([SOUND, SOUND], 0, ["audit: 2 of 2 packages were asked about"]),
        ([SOUND, UNKNOWN], 0, ["audit: 1 of 2 packages were asked about; of the others"]),
        ([UNKNOWN], 0, ["audit: 0 of 1 packages were asked about; of the others"]),
        ([BAD], 1, ["bad 0.9: PYSEC-1, mended in 1.0, 0.9.1", "bad 0.9: PYSEC-2, mended in no"]),
    ],
)
def test_a_known_vulnerability_fails(packages, status, told, monkeypatch, capsys):
    monkeypatch.setattr(audit, "found", lambda environment: packages)
    assert audit.main(".venv") == status
    lines = capsys.readouterr().out.splitlines()
    for text, line in zip(told, lines, strict=False):
        assert line.startswith(text)
    assert "packages were asked about" in lines[-1]


def test_without_an_answer_it_is_said(monkeypatch, capsys, tmp_path):
    (tmp_path / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    monkeypatch.setattr(audit, "AUDITOR", "/nowhere/to/be/found.whl")
    assert audit.main(str(tmp_path)) == 0
    assert capsys.readouterr().out == (
        "audit: not done: /nowhere/to/be/found.whl cannot be installed\n"
    )
