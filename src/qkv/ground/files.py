"""Files written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make an OSError raised inside say which file could not be written."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, under a temporary name beside `path`; flushed to the disk and renamed at the
    end. Where `path` is a link, that is done where it points; what is no file, as a pipe or a
    device, is written into.

    A reader sees the old file or the new one, never a part, and a full disk or any other error
    leaves the old one. Raises OSError naming `path`.
    """
    with naming(path):
        place = Path(os.path.realpath(path))
        whole = not place.exists() or place.is_file()
    if not whole:
        with naming(path):
            stream = place.open("wb")
        try:
            yield stream
        finally:
            with naming(path):
                stream.close()
        return
    with naming(path):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            with naming(path):
                flush(file)
        with naming(path):
            os.chmod(name, 0o644)  # mkstemp gives a file to its owner alone
            os.replace(name, place)
    except BaseException:
        os.unlink(name)
        raise


def flush(file: BinaryIO) -> None:
    """To the disk, where it is a file."""
    file.flush()
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        os.fsync(file.fileno())
