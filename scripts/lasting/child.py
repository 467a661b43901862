"""A Python process of its own, which may be ended, limited or interrupted."""

from __future__ import annotations

import os
import subprocess
import sys

LIMIT = 240  # seconds


def output_of(code: str, *arguments: str, **environment: str) -> str:
    """What a program prints; variables of its environment may be given.

    Raises:
        AssertionError: it ended with an error, or not at all.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=os.environ | environment,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"it did not end within {LIMIT} s: {error.stderr}") from error
    assert done.returncode == 0, f"it ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout
