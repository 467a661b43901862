"""How the package hangs together: no count of `scripts/structure.py` grows."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "structure.py"

# Upper bounds, to be lowered whenever a count falls.
LIMITS = {
    "modules at the top": 5,
    "rooms": 28,
    "rooms without a layer": 0,
    "floors": 15,
    "arrows between rooms": 143,
    "upward arrows": 0,
    "rooms in circles": 0,
    "modules in circles": 3,
    "files of a plain call": 17,
    "files of a call with a bias": 31,
}


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    spec = spec_from_file_location("structure", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def counts(script) -> dict[str, int | None]:
    return script.structure(ROOT)


def test_every_count_has_a_limit(counts) -> None:
    assert counts.keys() == LIMITS.keys()


@pytest.mark.parametrize("name", LIMITS)
def test_no_count_grows(counts, name) -> None:
    if counts[name] is None:
        pytest.skip("the kernels are not there, or another checkout is installed")
    assert counts[name] <= LIMITS[name]


FILES = {
    "__init__.py": "from .low import thing\n",
    "_ground.py": "",
    "low/__init__.py": "from .._ground import x\n",
    "low/thing.py": "def later():\n    from ..high import thing\n",
    "high/__init__.py": "",
    "high/thing.py": "import qkv.low.thing\nif TYPE_CHECKING:\n    from ..alone import a, b\n",
    "alone.py": "import torch\nfrom . import _ground\n",
}
LAYERS = """
[[tool.importlinter.contracts]]
type = "layers"
layers = ["qkv.high", "qkv.low | qkv.alone", "qkv._ground"]
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A small package in which two rooms import from each other."""
    (tmp_path / "pyproject.toml").write_text(LAYERS)
    for name, text in FILES.items():
        path = tmp_path / "src" / "qkv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_imports_of_every_form_are_counted(script, checkout) -> None:
    assert script.imports(checkout) == {
        "qkv._ground": set(),
        "qkv.low": {"qkv._ground"},
        "qkv.low.thing": {"qkv.high.thing"},
        "qkv.high": set(),
        "qkv.high.thing": {"qkv.low.thing", "qkv.alone"},
        "qkv.alone": {"qkv._ground"},
    }


def test_what_is_counted_of_them(script, checkout) -> None:
    rooms = script.rooms_of(script.imports(checkout))
    assert script.upward(rooms, script.layers(checkout)) == [("qkv.low", "qkv.high")]
    assert script.circles(rooms) == [{"qkv.low", "qkv.high"}]
    assert script.structure(checkout) == {
        "modules at the top": 3,
        "rooms": 4,
        "rooms without a layer": 0,
        "floors": 3,
        "arrows between rooms": 5,
        "upward arrows": 1,
        "rooms in circles": 2,
        "modules in circles": 2,
        "files of a plain call": None,
        "files of a call with a bias": None,
    }


def test_it_prints_a_table_and_json(script, checkout, capsys, monkeypatch) -> None:
    for options, text in (
        ([], "upward: qkv.low qkv.high\ncircle: qkv.high qkv.low\n"),
        (["--json"], '"upward arrows": 1,\n'),
    ):
        monkeypatch.setattr(sys, "argv", ["structure.py", "--root", str(checkout), *options])
        script.main()
        assert text in capsys.readouterr().out
