"""How the cost of a window grows with the length, for every operation and derivative."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import qkv

WIDTH = 16
ENOUGH = 5.0  # seconds
WINDOW = qkv.Window(100, 0)
IMPLEMENTATIONS = ("torch", "native", "tiled")  # the smallest first


def operations(inputs: tuple[Tensor, ...], impl: str) -> dict[str, Callable]:
    """Every operation by name, on tensors that want gradients."""
    query, key, value = inputs
    if impl == "torch":
        name = "softmax(query * key) * value, backward"
        return {name: lambda: gradients(torch.softmax(query * key, -1) * value, inputs)}

    def matrix(**stages: Any) -> qkv.AttentionMatrix:
        return qkv.attention(query, key, impl=impl, **{"mask": WINDOW, **stages})

    def quiet(call: Callable) -> Callable:
        return torch.no_grad()(call)

    length = query.shape[-2]
    documents = qkv.Documents(ids=torch.arange(length) // 100)
    additive = qkv.Additive(torch.ones(WIDTH))
    pair = query.expand(1, 2, length, WIDTH)
    return {
        "A @ v": quiet(lambda: matrix() @ value),
        "A @ v, backward": lambda: gradients(matrix() @ value, inputs),
        "A @ v, second derivative": lambda: gradients(matrix() @ value, inputs, again=True),
        "A.mT @ x": quiet(lambda: matrix().mT @ value),
        "A.mT @ x, backward": lambda: gradients(matrix().mT @ value, inputs),
        "dropout, backward": lambda: gradients(matrix().dropout(0.1, seed=1) @ value, inputs),
        "mass": quiet(lambda: matrix().mass()),
        "entropy": quiet(lambda: matrix().entropy()),
        "entropy, backward": lambda: gradients(matrix().entropy(), inputs),
        "logsumexp": quiet(lambda: matrix().logsumexp()),
        "mass, entropy and distance in one pass": quiet(
            lambda: matrix().measure(qkv.Mass(), qkv.Entropy(), qkv.Distance())
        ),
        "top(4)": quiet(lambda: matrix().top(4)),
        "pool(16, 16)": quiet(lambda: matrix().pool(16, 16)),
        "16 rows, 16 columns": quiet(
            lambda: matrix()[..., length - 16 :, torch.arange(length - 16, length)]
        ),
        "explain one row": quiet(lambda: matrix().explain(length // 2)),
        "documents of 100, backward": lambda: gradients(matrix(mask=documents) @ value, inputs),
        "sparsemax, backward": lambda: gradients(
            matrix(normalizer=qkv.Sparsemax()) @ value, inputs
        ),
        "additive score, backward": lambda: gradients(matrix(score=additive) @ value, inputs),
        "two heads on one key, backward": lambda: gradients(
            qkv.attention(pair, key, mask=WINDOW, impl=impl) @ value, inputs
        ),
    }


def gradients(
    result: Tensor, inputs: tuple[Tensor, ...], again: bool = False
) -> tuple[Tensor, ...]:
    """Those of the sum of squares, and where asked those of their sum of squares."""
    found = torch.autograd.grad(
        result.square().sum(), inputs, create_graph=again, allow_unused=True
    )
    if not again:
        return found
    total = sum((g.square().sum() for g in found if g is not None), torch.zeros(()))
    return torch.autograd.grad(total, inputs)


def seconds(call: Callable[[], object], rounds: int) -> float:
    """The least of some calls, of fewer where they are long: what disturbs only adds to it."""
    times: list[float] = []
    while len(times) < rounds and sum(times) < ENOUGH:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def exponent(lengths: list[int], times: list[float]) -> float:
    """The slope of the line through the logarithms, by least squares: 1 where cost is linear."""
    x, y = ([math.log(number) for number in numbers] for numbers in (lengths, times))
    middle, height = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - middle) ** 2 for a in x)
    return sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / spread


def table(lengths: list[int], rounds: int) -> list[str]:
    """Its lines: seconds at every length, and the exponent that fits them."""
    heads = [f"{length:,}" for length in lengths]
    lines = [
        f"| implementation | operation | {' | '.join(heads)} | exponent |",
        f"|---|---|{'---:|' * (len(lengths) + 1)}",
    ]
    for impl in IMPLEMENTATIONS:
        times: dict[str, list[float]] = {}
        for length in lengths:
            torch.manual_seed(0)
            inputs = tuple(torch.randn(1, 1, length, WIDTH, requires_grad=True) for _ in range(3))
            for name, call in operations(inputs, impl).items():
                times.setdefault(name, []).append(seconds(call, rounds))
        for name, found in times.items():
            cells = [f"{one:.3f} s" for one in found]
            lines.append(
                f"| {impl} | {name} | {' | '.join(cells)} | {exponent(lengths, found):.2f} |"
            )
            print(lines[-1], flush=True)
    return lines
