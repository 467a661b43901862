"""What all tests share: the same random numbers in every run, and what becomes of those that need
kernels which are not there."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

from qkv import UnsupportedError, native

settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fixed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """A test that asks for the kernels by name is skipped where they were not built."""
    try:
        return (yield)
    except UnsupportedError as error:
        reason = native.unavailable_reason()
        if reason is not None and reason in str(error):
            pytest.skip(reason)
        raise


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch's, for tests of small tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
