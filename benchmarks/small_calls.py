"""What a small eager call costs beside torch's own attention.

    python benchmarks/small_calls.py

Query, key and value are `[1, 8, 16, 64]`. Every contender is checked against the float64 oracle
first; then they are timed in turn in one process, and medians are compared.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import interleaved
from torch import Tensor

import qkv

SHAPE = (1, 8, 16, 64)
ROUNDS = 2000


def products(query: Tensor, key: Tensor, value: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The same product by every contender."""
    matrix = qkv.attention(query, key)
    return {
        "torch SDPA": lambda: F.scaled_dot_product_attention(query, key, value),
        "qkv.attend": lambda: qkv.attend(query, key, value),
        "A @ value, A made before": lambda: matrix @ value,
        "qkv.attend, impl=tiled": lambda: qkv.attend(query, key, value, impl="tiled"),
    }


def main() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(SHAPE) for _ in range(3)]
    tracked = [tensor.clone().requires_grad_() for tensor in inputs]
    gradient = torch.randn(SHAPE)
    oracle = qkv.attend(*(tensor.double() for tensor in inputs), impl="reference")
    forward = products(*inputs)
    for product in forward.values():
        torch.testing.assert_close(product().double(), oracle, rtol=1e-5, atol=1e-6)

    def with_backward(product: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(product(), tracked, gradient)

    backward = {name: with_backward(product) for name, product in products(*tracked).items()}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {list(SHAPE)}")
    print(f"{'':26} {'forward':>18} {'with gradients':>20}")
    plain, both = interleaved(forward, ROUNDS), interleaved(backward, ROUNDS)
    for name in plain:
        cells = (
            f"{times[name] * 1e6:7.0f} us {times[name] / times['torch SDPA']:5.2f} x"
            for times in (plain, both)
        )
        print(f"{name:26}", *(f"{cell:>19}" for cell in cells))


if __name__ == "__main__":
    main()
