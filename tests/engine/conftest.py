"""What the engine's tests share: small tensors on one thread, and every regime of the engine."""

from __future__ import annotations

import pytest
from refusals import NAMED

# Budgets in bytes: whole by plain operations, and cut into several blocks.
SMALL, CUT = 64 * 2**20, 2000


@pytest.fixture(autouse=True)
def _always_one_thread(one_thread: None) -> None:
    """Every test here."""


@pytest.fixture(params=[SMALL, CUT], ids=["at once", "blocks"])
def memory(request: pytest.FixtureRequest) -> int:
    """The working budget that puts a small matrix into one of the two regimes."""
    return request.param


@pytest.fixture(params=[*NAMED, "blocks"])
def engine(request: pytest.FixtureRequest) -> dict[str, object]:
    """Options of `qkv.attention` for every implementation; tiled at once and in blocks."""
    if request.param == "blocks":
        return {"impl": "tiled", "memory": CUT}
    return {"impl": request.param, "memory": SMALL}


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts the tiles inside a strip, which scores of several numbers per cell have, very small."""
    monkeypatch.setattr("qkv.request.strip._TILE_NUMBERS", 30)
    monkeypatch.setattr("qkv.request.strip.SMALL", 30)
