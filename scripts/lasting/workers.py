"""Data loaders whose workers call qkv, after this process has used the kernels' threads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import qkv

WAYS = ("fork", "spawn", "forkserver")
_PATIENCE = 120  # seconds for one item: a worker that waits for lost threads is seen


class Items(Dataset):
    """Each item is computed by qkv: a product, statistics and a gradient."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        draw = torch.Generator().manual_seed(index)
        query, key, value = (torch.randn(4, 60 + index % 9, 16, generator=draw) for _ in range(3))
        query.requires_grad_()
        normalizer = (qkv.Softmax(), qkv.Sparsemax(), qkv.Sigmoid(-1.0))[index % 3]
        matrix = qkv.attention(query, key, mask=qkv.Causal(), normalizer=normalizer)
        output, mass, entropy = matrix.measure(qkv.Product(value), qkv.Mass(), qkv.Entropy())
        (gradient,) = torch.autograd.grad(output.square().sum() + mass.sum(), query)
        parts = (output.sum(-1), mass, entropy, gradient.sum(-1))
        return torch.stack([part.detach().double().sum() for part in parts])


def run(items: int) -> list[str]:
    """Two passes by each way to start workers, and beside them the same items computed here.

    Raises:
        AssertionError: an item is another one.
        RuntimeError: a worker does not answer.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        dataset = Items(items)
        expected = torch.stack([dataset[index] for index in range(items)])
        for way in WAYS:
            loader = DataLoader(
                dataset, batch_size=4, num_workers=2, multiprocessing_context=way,
                timeout=_PATIENCE,
            )  # fmt: skip
            for _ in range(2):
                torch.testing.assert_close(torch.cat([*loader]), expected, rtol=1e-4, atol=1e-4)
                own = dataset[0]  # between passes, by the threads of this process
                torch.testing.assert_close(own, expected[0], rtol=0, atol=0)
    finally:
        torch.set_num_threads(before)
    return [f"{items} items twice by 2 workers, started by {', '.join(WAYS)}: all are right"]
