"""Answering many texts: several parts side by side, in their order, the first ones soon."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, repeat
from typing import TypeVar

Answer = TypeVar("Answer")

_FIRST = 1, 8, 32  # texts of the first parts: the first answer comes as soon as it would alone


def streamed(
    work: Callable[[Sequence[str]], Iterable[Answer]],
    groups: Iterable[Sequence[str]],
    most: int,
    *,
    growing: bool = True,
    threads: int | None = None,
) -> Iterator[Answer]:
    """The answers of `work` to the texts of all groups, in their order.

    Parts of a group are worked on by several threads, by default as many as torch would use for one
    of them, and torch uses one in each: many small operations waste less so. Parts have at most
    `most` texts, with `growing` the first ones fewer, and nothing is begun beside the very first. A
    group is answered before the next is asked for, which may have to wait for somebody.
    """
    import torch

    before = torch.get_num_threads()
    threads = threads or before
    sizes = chain(_FIRST if growing else (), repeat(most))
    ahead = 0 if growing else threads  # parts begun behind the one that is waited for
    pool = ThreadPoolExecutor(threads)
    torch.set_num_threads(1)  # and so in threads that are yet to begin
    try:
        for group in groups:
            waiting: deque[Future[Iterable[Answer]]] = deque()
            for part in _parts(group, sizes, min(most, math.ceil(len(group) / threads))):
                waiting.append(pool.submit(work, part))
                if len(waiting) > ahead:
                    yield from waiting.popleft().result()
                    ahead = threads
            while waiting:
                yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        torch.set_num_threads(before)


def _parts(texts: Sequence[str], sizes: Iterator[int], most: int) -> Iterator[Sequence[str]]:
    start = 0
    while start < len(texts):
        stop = start + min(next(sizes), most)
        yield texts[start:stop]
        start = stop
