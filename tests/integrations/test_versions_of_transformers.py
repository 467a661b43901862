"""Another release of transformers than the one that was tried is told of by name."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from qkv.integrations.transformers import version

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("other", ["4.57.3", "5.23.1", "6.0.0", "6.1.0.dev0", "unknown"])
def test_another_release_is_refused(other, monkeypatch) -> None:
    monkeypatch.setattr(import_module("transformers"), "__version__", other)
    with pytest.raises(ImportError, match=rf"needs transformers>=5\.24,<6, .*; {other} is inst"):
        version.check()


@pytest.mark.parametrize("fitting", ["5.24.0", "5.24.0.dev0", "5.31.2"])
def test_these_fit(fitting, monkeypatch) -> None:
    monkeypatch.setattr(import_module("transformers"), "__version__", fitting)
    version.check()


def test_it_says_what_to_install_where_there_is_none(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'transformers>=5\.24,<6'"):
        version.check()


def test_the_extra_asks_for_the_same() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = declared["project"]["optional-dependencies"]
    assert extras["transformers"] == [f"transformers{version.WANTED}"]
