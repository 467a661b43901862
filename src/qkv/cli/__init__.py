"""The `qkv` command."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn

from qkv.cli.run import run


def main() -> NoReturn:
    """Run the command with the process's arguments and exit with its status."""
    # Text in and out is UTF-8 whatever the locale, or Chinese could not be printed everywhere.
    for stream, encoding in (
        (sys.stdin, "utf-8-sig"),
        (sys.stdout, "utf-8"),
        (sys.stderr, "utf-8"),
    ):
        if stream is not None:  # closed by the caller
            stream.reconfigure(encoding=encoding)  # pyright: ignore[reportAttributeAccessIssue]
    warnings.showwarning = _Warnings().show
    sys.exit(run(sys.argv[1:]))


class _Warnings:
    """Warnings in one line each; one of ours, such as that of a missing font, once in a run."""

    def __init__(self) -> None:
        self.told: set[type[Warning]] = set()

    def show(
        self, message: Warning | str, category: type[Warning], *_: object, **__: object
    ) -> None:
        ours = category.__module__.partition(".")[0] == "qkv"
        if sys.stderr is not None and not (ours and category in self.told):
            print(f"qkv: warning: {message}", file=sys.stderr)
        self.told.add(category)
