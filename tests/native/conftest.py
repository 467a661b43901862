"""What the tests of the native kernels share: every instruction set of this machine, one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qkv import native


@pytest.fixture(autouse=True)
def _always_one_thread(one_thread: None) -> None:
    """Every test here."""


@pytest.fixture(params=["x86-64-v4", "x86-64-v3", "baseline"])
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set in turn; skipped where it is not built or not run."""
    reason = native.unavailable_reason()
    if reason is not None:
        pytest.skip(reason)
    if request.param not in native.instruction_sets():
        pytest.skip(f"this build or this processor has no {request.param}")
    before = native.instruction_set()
    native.use(request.param)
    yield request.param
    native.use(before)
