"""`scripts/kernels.py`: no green without kernels where a compiler is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from qkv import native

SCRIPT = Path(__file__).parents[2] / "scripts" / "kernels.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not in the source distribution")


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The script where one compiler is installed, `g++`."""
    specification = importlib.util.spec_from_file_location("kernels", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    (tmp_path / "g++").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    return script


def test_a_failed_build_is_an_error(kernels, monkeypatch, capsys) -> None:
    monkeypatch.setattr(native, "unavailable_reason", lambda: "they were not built")
    assert kernels.main() == 1
    assert "g++ is there, and they are not (they were not built)" in capsys.readouterr().err


def test_without_a_compiler_it_says_so(kernels, monkeypatch, capsys) -> None:
    monkeypatch.setattr(native, "unavailable_reason", lambda: "they were not built")
    monkeypatch.setenv("CXX", "nowhere-c++ -O2")
    assert kernels.main() == 0
    assert "no compiler was found, so they are not tested" in capsys.readouterr().out


def test_with_kernels_it_names_their_instruction_sets(kernels, monkeypatch, capsys) -> None:
    monkeypatch.setattr(native, "unavailable_reason", lambda: None)
    monkeypatch.setattr(native, "instruction_sets", lambda: ["x86-64-v3", "baseline"])
    assert kernels.main() == 0
    assert capsys.readouterr().out == "native kernels: x86-64-v3, baseline\n"
