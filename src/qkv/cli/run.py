"""Running the command: the one place where a user's mistake becomes a line and an exit status."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any

from qkv._extras import EXTRA_PACKAGES, install, package_of
from qkv.ground.errors import UnsupportedError
from qkv.tasks.trainer.errors import TrainingError

FAILED, MISTAKEN = 1, 2
INTERRUPTED = 128 + signal.SIGINT
_COMPLETE = "_QKV_COMPLETE"
BROKEN_PIPE = 128 + 13  # what a shell reports for SIGPIPE, which Windows has no name for


def run(arguments: Sequence[str]) -> int:
    """Run `qkv` with these arguments and return its exit status.

    0 is success, 1 a failure (a file, a model, the data), 2 a mistake in the arguments, such as the
    name of a file that is not there, 130 an interrupt. What went wrong is one line on standard
    error. Errors that are no user's mistake pass through.
    """
    _open_streams()
    try:
        status = _invoke(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as head, has had enough
        _finish_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except OSError as error:
        _finish_output()
        misnamed = isinstance(error, FileNotFoundError | IsADirectoryError)
        return _fail(_describe(error), MISTAKEN if misnamed else FAILED)
    except (ValueError, UnsupportedError) as error:
        return _fail(str(error), FAILED)
    except TrainingError as error:
        return _fail(str(error), FAILED)
    except ImportError as error:
        return _fail(_what_to_install(error), FAILED)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _fail(_wanted(error), FAILED)


def _invoke(arguments: Sequence[str]) -> int:
    try:
        import typer
    except ModuleNotFoundError:
        from qkv.cli.alone import answer

        status = answer(arguments)
        if status is None:
            raise
        return status
    from qkv.cli.app import app

    if _COMPLETE in os.environ:  # the shell asks what may follow, and typer answers and exits
        app(prog_name="qkv")
    command = typer.main.get_command(app)
    try:
        with command.make_context("qkv", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except Exception as error:
        # click's own errors describe themselves; newer typer brings its own copy of click, so
        # they cannot be caught by their class.
        mistake: Any = error
        if not hasattr(mistake, "format_message"):
            raise
        context = getattr(mistake, "ctx", None)
        hint = f"; see {context.command_path} --help" if context else ""
        return _fail(mistake.format_message().rstrip(".") + hint, mistake.exit_code)
    return 0


def _fail(message: str, status: int) -> int:
    print("qkv: " + " ".join(message.split()), file=sys.stderr)
    return status


def _describe(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory was asked for that there is not. Of torch's errors on a processor the words
    alone say so."""
    words = ("can't allocate memory", "Storage size calculation overflowed")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(one in str(error) for one in words)
    )


def _wanted(error: Exception) -> str:
    match = re.search(r"allocate (\d+) bytes", str(error))
    wanted = f": {int(match[1]):,} bytes were asked for at once" if match else ""
    return f"there is not enough memory{wanted}; smaller sizes or batches need less"


def _what_to_install(error: ImportError) -> str:
    package = package_of(error.name or "")
    if "pip install " in str(error):
        return str(error)
    if package not in EXTRA_PACKAGES:
        raise error
    return f"this needs {package}: {install(package)}"


def _open_streams() -> None:
    """Where a shell has closed one there is none, and what is printed to none goes to the other."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - to the end


def _finish_output() -> None:
    """Drop what is still buffered if it cannot be written: Python would complain while exiting."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
