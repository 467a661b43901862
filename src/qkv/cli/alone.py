"""The command where typer is missing, with torch alone: what it can say all the same."""

from __future__ import annotations

from collections.abc import Sequence

from qkv import __version__
from qkv._extras import install
from qkv.cli.doctor import report

ABOUT = "Attention you can compose, train and look into."
_HELP = f"""\
Usage: qkv COMMAND

{ABOUT}

  doctor [--json]  Show versions, implementations, machine, model and fonts.
  --version        Show the version.

All other commands need packages that are missing:
  {{}}"""


def answer(arguments: Sequence[str]) -> int | None:
    """Answer these arguments and return the exit status; None where that needs typer."""
    match list(arguments):
        case [] | ["-h" | "--help"] | ["doctor", "-h" | "--help"]:
            print(_HELP.format(install("typer")))
        case ["--version"]:
            print(f"qkv {__version__}")
        case ["doctor"]:
            return report()
        case ["doctor", "--json"]:
            return report(as_json=True)
        case _:
            return None
    return 0
