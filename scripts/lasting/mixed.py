"""Thousands of calls of every kind from several threads: right to the bit, in memory that stays."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from time import monotonic
from typing import Any

import torch
from hypothesis import strategies as st

from qkv.ground.errors import UnsupportedError
from qkv.testing import Outcome, Request, Sizes, assert_honoured
from qkv.testing.rounds import Stopped, run_round
from qkv.testing.strategies import BUDGETS, requests, sizes

THREADS = 4
DIFFERENT = 100  # requests, each in one regime
GROWTH = 24 * 2**20  # bytes that the second half of a run may add, of a process that has hundreds
_REGIMES = [("auto", None), ("native", None), ("torch", None), *(("tiled", b) for b in BUDGETS)]

Regime = tuple[str, int | None]


def run(calls: int) -> list[str]:
    """Draws requests, small ones and such of a hundred places, of every stage, measure and
    dtype; compares values and gradients of each with the oracle; then computes them over and over
    from four threads.

    Raises:
        AssertionError: an answer is wrong, is not the same bits again, or memory grows.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        known = _known(min(DIFFERENT, calls))
        for _ in range(2):  # threads, caches and the allocator's pools are there now
            _all(known, 2 * len(known))
        start, first = monotonic(), _resident()
        _all(known, calls // 2)
        middle = _resident()
        _all(known, calls - calls // 2)
        last, seconds = _resident(), monotonic() - start
    finally:
        torch.set_num_threads(before)
    grown = last - middle
    assert grown <= GROWTH, f"memory grew by {grown / 2**20:.0f} MiB in half of {calls:,} calls"
    scores, normalizers, impls = (
        len({choose(request, outcome) for request, _, outcome in known})
        for choose in (
            lambda request, outcome: request.matrix.score.name,
            lambda request, outcome: request.matrix.normalizer.name,
            lambda request, outcome: outcome.implementation,
        )
    )
    return [
        f"{calls:,} calls with gradients from {THREADS} threads in {seconds:.0f} s, of "
        f"{len(known)} requests ({scores} scores, {normalizers} normalizers, {impls} "
        "implementations): each right once, and the same bits ever after",
        "resident memory at start, middle, end: "
        + ", ".join(f"{size / 2**20:.0f} MiB" for size in (first, middle, last)),
    ]


def _known(number: int) -> list[tuple[Request, Regime, Outcome]]:
    """Requests, each with a regime that serves it and the right answer there."""
    known: list[tuple[Request, Regime, Outcome]] = []
    large = st.builds(
        Sizes, batch=st.just((2,)), heads=st.just(4), key_heads=st.sampled_from([2, 4]),
        queries=st.integers(1, 80), keys=st.integers(1, 130), width=st.sampled_from([3, 16]),
        value_width=st.sampled_from([2, 16]),
    )  # fmt: skip

    def collect(request: Request) -> None:
        if len(known) >= number:
            raise Stopped
        regime = _REGIMES[len(known) % len(_REGIMES)]
        if regime[1] is not None and request.matrix.shape[-2:].numel() > 2000:
            regime = regime[0], 10**6  # blocks of a few cells take long where there are many
        try:
            known.append((request, regime, assert_honoured(request, *regime)))
        except UnsupportedError:
            known.append((request, ("auto", None), assert_honoured(request, "auto", None)))

    for seed in count():
        run_round(requests(large if seed % 2 else sizes(1)), collect, seed, 20)
        if len(known) >= number:
            break
    return known


def _all(known: list[tuple[Request, Regime, Outcome]], calls: int) -> None:
    def again(number: int) -> None:
        request, regime, right = known[number % len(known)]
        found = request.evaluate(*regime)
        for what in ("values", "gradients"):
            pairs = zip(getattr(found, what), getattr(right, what), strict=True)
            for place, (one, other) in enumerate(pairs):
                assert _same(one, other), f"{what}[{place}] by {regime} of {request} changed"

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(again, range(calls)):
            pass
    gc.collect()


def _same(one: Any, other: Any) -> bool:
    """The same numbers, NaN in the same places."""
    if not one.is_floating_point():
        return torch.equal(one, other)
    same = torch.equal(one.isnan(), other.isnan())
    return same and torch.equal(one.nan_to_num(0.0), other.nan_to_num(0.0))


def _resident() -> int:
    """Bytes of memory that the process has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096
