"""With torch alone: the command tells its version, what is missing and how to get it."""

import json
import subprocess
import sys
from importlib.metadata import requires, version

import pytest

from qkv._extras import EXTRA_PACKAGES, install

ALONE = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {modules!r} else find(name, path, target)

PathFinder.find_spec = find_spec
"""
MODULES = ["PIL" if name == "pillow" else name for name in EXTRA_PACKAGES]
EVERYTHING = f"pip install {' '.join(EXTRA_PACKAGES)}"


def alone(program, *arguments):
    program = ALONE.format(modules=MODULES) + program
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def command(*arguments):
    return alone("from qkv.cli import main\nmain()\n", *arguments)


def test_it_tells_its_version():
    assert command("--version") == (0, f"qkv {version('qkv')}\n", "")


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["doctor", "--help"]])
def test_its_help_says_what_to_install(arguments):
    status, output, errors = command(*arguments)
    assert (status, errors) == (0, "")
    assert output.startswith("Usage: qkv COMMAND\n")
    assert "doctor [--json]" in output
    assert output.endswith(f"  {EVERYTHING}\n")


def test_doctor_works():
    status, output, errors = command("doctor", "--json")
    assert (status, errors) == (0, "")
    found = json.loads(output)
    assert found["implementations"]["tiled"]["value"] == "available"
    assert found["versions"]["qkv"]["value"] == version("qkv")
    assert found["data"]["Chinese font"]["value"] is None
    status, text, errors = command("doctor")
    assert (status, errors) == (0, "")
    assert f"  qkv     {version('qkv')}\n" in text
    assert "finding fonts needs matplotlib; pip install matplotlib" in text


@pytest.mark.parametrize("arguments", [["translate", "love"], ["train"], ["no-such"]])
def test_all_else_says_what_to_install(arguments):
    assert command(*arguments) == (1, "", f"qkv: this needs typer: {EVERYTHING}\n")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("qkv.Translator.load()", "safetensors is needed here and missing"),
        ("import qkv.pictures; qkv.pictures.heatmap", "qkv.pictures.heatmap needs matplotlib"),
        ("import qkv.pictures; qkv.pictures.TerminalMap", "qkv.pictures.TerminalMap needs rich"),
    ],
)
def test_python_says_the_same(program, said):
    status, _, errors = alone(f"import qkv\n{program}\n")
    assert status == 1
    assert errors.endswith(f"{said}: {EVERYTHING}\n")


def test_what_is_there_is_not_named():
    assert install("no-such-package") == "pip install no-such-package"


def test_the_packages_are_those_of_the_extra():
    extra = [one for one in requires("qkv") if 'extra == "tasks"' in one.replace("'", '"')]
    names = [one.partition(">")[0].strip().lower() for one in extra]
    assert sorted(names) == sorted(EXTRA_PACKAGES)
