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
    warnings.formatwarning = lambda message, *_, **__: f"qkv: warning: {message}\n"
    sys.exit(run(sys.argv[1:]))
