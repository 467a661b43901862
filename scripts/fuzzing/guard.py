"""What a file may not do to whoever opens it: run, reach outside its folder, take much memory."""

from __future__ import annotations

import ast
import os
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOST = 256 * 2**20  # bytes that a small file may take for a moment
_LIMIT = 8 * 2**30  # bytes of addresses beyond those in use; more is refused by the system
_FORBIDDEN = {
    *("pickle.find_class", "code.__new__", "ctypes.dlopen", "socket.connect", "socket.bind"),
    *("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"),
    *("os.startfile", "subprocess.Popen", "os.remove", "os.rename", "os.rmdir", "os.link"),
    *("os.symlink", "os.chmod", "os.mkdir", "shutil.rmtree", "shutil.move"),
}  # fmt: skip
_LIBRARIES = tuple(
    os.path.realpath(place) + os.sep for place in (sys.prefix, sys.base_prefix, *sys.path) if place
)  # what is imported late is read and run from there
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class EscapedError(AssertionError):
    """A file did what none may do."""


class _Watch:
    """The one audit hook of the process, for hooks stay as long as it lives."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.folder is None:
            return
        if event in _FORBIDDEN:
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "open" and not self._may_open(arguments[0]):
            self.seen.append(f"open {arguments[0]!r}")
        elif event in ("compile", "exec"):
            place = arguments[1] if event == "compile" else arguments[0].co_filename
            # Annotations are evaluated; what only becomes a syntax tree is not run.
            caller = sys._getframe(1).f_code.co_filename
            if not _is_library(place) and caller not in (typing.__file__, ast.__file__):
                self.seen.append(f"{event} {str(arguments)[:200]}")

    def _may_open(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # a file that is open already
        place = os.path.realpath(os.fsdecode(path))
        own = place.startswith((str(self.folder), "/dev/fd/", "/proc/self/"))
        return own or _is_library(place)


def _is_library(path: object) -> bool:
    return isinstance(path, str | bytes) and os.path.realpath(os.fsdecode(path)).startswith(
        _LIBRARIES
    )


_watch: _Watch | None = None


def _watching() -> _Watch:
    global _watch
    if _watch is None:
        _watch = _Watch()
        sys.addaudithook(_watch)
    return _watch


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """While a file of a folder is opened: everything that the process does is looked at.

    Raises:
        EscapedError: it ran something, touched what is outside the folder, or took much memory for
            a moment. Memory is measured on Linux alone.
    """
    watch = _watching()
    watch.seen.clear()
    with suppress(OSError):
        _CLEAR.write_text("5")  # the peak starts anew
    before = _resident("VmRSS")
    watch.folder = os.path.realpath(folder)
    try:
        yield
    finally:
        watch.folder = None
    if watch.seen:
        raise EscapedError(f"the file led to: {'; '.join(watch.seen)}")
    taken = _resident("VmHWM") - before
    if taken > MOST:
        raise EscapedError(f"the file took {taken / 2**20:,.0f} MiB for a moment")


def _resident(name: str) -> int:
    """Bytes of memory, of one of the system's names; 0 where the system has none."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return 0


@contextmanager
def limited() -> Iterator[None]:
    """A process that cannot take the whole machine's memory for a wrong file."""
    try:
        import resource
    except ImportError:  # no such limits
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_resident("VmSize") + _LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refusal_of(error: Exception, place: Path | None = None) -> str:
    """The text of a refusal.

    Raises:
        AssertionError: it does not name the place, or says that the system had no memory: then the
            file was believed.
    """
    text = str(error)
    if place is not None and str(place) not in text:
        raise AssertionError(f"{place} must be named; got {text}")
    if "llocate memory" in text or "bad_alloc" in text or "alloc_cpu" in text:
        raise AssertionError(f"memory was asked for before the file was checked: {text}")
    return text
