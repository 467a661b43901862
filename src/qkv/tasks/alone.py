"""What one process does at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qkv._extras import needed


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether this process has the file at `path` to itself: no other one that asks so has it.

    It is made, and gone at the end. A process that ends, however it does, gives it back.
    """
    filelock = needed("filelock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        lock.release()
