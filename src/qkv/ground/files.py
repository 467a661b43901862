"""Files written whole or not at all: under a temporary name in the folder they end in, then
renamed."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO


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
        whole = not path.exists() or path.is_file()
    if not whole:
        with naming(path):
            stream = path.open("wb")
        try:
            yield stream
        finally:
            with naming(path):
                stream.close()
        return
    with naming(path):
        place.parent.mkdir(parents=True, exist_ok=True)
        # Not by `tempfile`, which gives a file to its owner alone.
        draft = place.with_name(f".{place.name}.{token_hex(4)}")
        stream = draft.open("xb")
    try:
        with stream as file:
            yield file
            with naming(path):
                flush(file)
        with naming(path):
            os.replace(draft, place)
    except BaseException:
        os.unlink(draft)
        raise


def flush(file: BinaryIO) -> None:
    """To the disk, where it is a file."""
    file.flush()
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        os.fsync(file.fileno())


def write_atomic(path: Path, content: bytes) -> None:
    """Write a whole file as `writing` does."""
    write_together(path.parent, {path.name: content})


def write_together(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files of a folder by name, each as `writing` does: when the content of all is on the
    disk they are renamed, the last one first.

    A full disk leaves what there was. Raises OSError naming the file that could not be written.
    """
    new = not folder.exists()
    try:
        with ExitStack() as files:  # it closes, and so renames, the last one first
            for name, content in contents.items():
                file = files.enter_context(writing(folder / name))
                with naming(folder / name):
                    file.write(content)
                    flush(file)
    except OSError:
        if new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise


def require_writable(folder: Path) -> None:
    """Raise OSError naming the folder where files cannot be written in it; nothing is left of the
    attempt."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder) as file:
                file.write(b"x")
    finally:
        for one in made:
            with suppress(OSError):  # others may have put something into it by now, or removed it
                one.rmdir()


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON, atomically."""
    write_atomic(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """A value as readable JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return (text + "\n").encode()
