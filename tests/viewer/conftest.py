"""One browser for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def started(tmp_path_factory) -> Iterator:
    """Chromium, without a page of ours."""
    from chromium import chromium

    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def browser(started, address) -> Iterator:
    """It asks nobody but the address, and its page complains of nothing."""
    started.forget()
    yield started
    started.run("0")  # what was told meanwhile is noted
    ours = ("about:blank", "data:,", address)
    assert [url for url in started.requested if not url.startswith(ours)] == []
    assert any(url.startswith(address) for url in started.requested)
    assert started.complaints == []
