"""What the example programs share: the command line, tables, and packages that may be missing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

try:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from qkv.pictures import check_picture_path
except ModuleNotFoundError as missing:
    from qkv._extras import install

    sys.exit(f"the examples need {missing.name}: {install(missing.name or '')}")

_console = Console(highlight=False)


def command_line(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser that knows `--picture`, with a file below `build/examples/` unless told."""
    about = (description or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=about)
    parser.add_argument(
        "--picture",
        type=_picture_path,
        default=f"build/examples/{name}.png",
        metavar="PATH",
        help="where to draw: .png, .svg or .pdf (default: %(default)s)",
    )
    return parser


def whole_number(lowest: int, highest: int) -> Any:
    """A type for the parser: a whole number in this range."""

    def number(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {lowest:,} to {highest:,}; got {text!r}"
            )
        return int(text)

    return number


def scikit_image_data() -> Any:
    """`skimage.data`. The pictures that the examples use come with the package."""
    try:
        from skimage import data
    except ModuleNotFoundError:
        sys.exit("this example needs scikit-image, for its pictures: pip install scikit-image")
    return data


def say(text: str = "") -> None:
    """Print a paragraph, wrapped to the terminal."""
    _console.print(text, markup=False)


def show_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table: the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    for row in rows:
        table.add_row(
            *(Text(f"{cell:.3f}" if isinstance(cell, float) else str(cell)) for cell in row)
        )
    _console.print(table)


def _picture_path(text: str) -> Path:
    try:
        Path(text).parent.mkdir(parents=True, exist_ok=True)
        return check_picture_path(text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
