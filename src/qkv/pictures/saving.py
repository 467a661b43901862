"""Writing a figure as a picture file: whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

from matplotlib import rc_context
from matplotlib.figure import Figure

from qkv.ground.files import naming, writing

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")

_DPI = 160
_DPI_OF_PAGE = 96
_MOST_PIXELS = 2**16 - 1  # what matplotlib can draw in one direction
# Without dates the same figure gives the same bytes.
_METADATA: dict[str, dict[str, None]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def check_picture_path(path: str | os.PathLike[str]) -> Path:
    """The path, or an error if a picture cannot be written there: ask before long work.

    Raises ValueError for a suffix other than `PICTURE_SUFFIXES`, FileNotFoundError when the
    folder does not exist, IsADirectoryError when the path is a folder, FileExistsError when
    something stands there that is no file, such as a pipe.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise ValueError(
            f"picture: the file's name must end in {', '.join(PICTURE_SUFFIXES)}; got {str(path)!r}"
        )
    if path.is_dir():
        raise IsADirectoryError(f"picture: {str(path)!r} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"picture: there is no folder {str(path.parent)!r}")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"picture: {str(path)!r} is no file that can be replaced")
    return path


def numbered(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The files of several pictures that one name was given for: FILE, FILE-2, FILE-3, ..."""
    path = Path(path)
    yield path
    for number in count(2):
        yield path.with_stem(f"{path.stem}-{number}")


def save_picture(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, SVG or PDF, after the path's suffix.

    The file appears when it is complete; an error leaves an older one as it was. Where the path is
    a link, the file is where it points. Raises what `check_picture_path` raises, and OSError when
    the file cannot be written.
    """
    path = check_picture_path(path)
    try:
        with writing(path) as file, naming(path):
            _write(figure, file, path.suffix.lower())
    except OSError as named:  # the path is told apart from the reason
        error = named.__cause__ if isinstance(named.__cause__, OSError) else named
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def picture_file(figure: Figure, kind: str) -> bytes:
    """What `save_picture` writes, for a file that ends in `.kind`."""
    written = io.BytesIO()
    _write(figure, written, f".{kind}")
    return written.getvalue()


def _write(figure: Figure, file: BinaryIO, suffix: str) -> None:
    dpi = min(_DPI, _MOST_PIXELS / max(figure.get_size_inches()))
    with rc_context({"svg.hashsalt": "qkv", "pdf.fonttype": 42}):
        figure.savefig(file, format=suffix[1:], dpi=dpi, metadata=_METADATA[suffix])


def picture_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element for a page, its texts as texts; the same figure gives the
    same element."""
    written = io.StringIO()
    with rc_context({"svg.hashsalt": "qkv", "svg.fonttype": "none"}):
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(written, format="svg", metadata=nothing)
    text = written.getvalue()
    return text[text.index("<svg") :]


def picture_bytes(figure: Figure) -> bytes:
    """The figure as a PNG file for a page, somewhat coarser than a saved one."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=_DPI_OF_PAGE)
    return written.getvalue()
