"""How many bytes each rank sends to each other one, in a product and in its derivative, and which
tensors a graph holds between them."""

import gc
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from ranks import joined, write
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

import qkv


def sent(act: Callable[[], Any]) -> tuple[dict[str, int], Any]:
    """The bytes that go from this rank to each other while it acts, and what it gives."""
    bytes_to: Counter[str] = Counter()
    original = torch.distributed.batch_isend_irecv

    def counting(operations):
        for operation in operations:
            if operation.op is torch.distributed.isend:
                bytes_to[str(operation.group_peer)] += operation.tensor.nbytes
        return original(operations)

    torch.distributed.batch_isend_irecv = counting
    try:
        result = act()
    finally:
        torch.distributed.batch_isend_irecv = original
    return dict(bytes_to), result


def held(act: Callable[..., torch.Tensor]) -> list[bool]:
    """Which of query, key and value a checkpoint cannot let go."""
    refs = []

    def checkpointed(x: torch.Tensor) -> torch.Tensor:
        vectors = [x * factor for factor in (1.0, 2.0, 3.0)]
        refs.extend(StorageWeakRef(vector.untyped_storage()) for vector in vectors)
        return act(*vectors)

    result = checkpoint(
        checkpointed, torch.randn(2, 3, 20, 8).requires_grad_(), use_reentrant=False
    )
    gc.collect()
    found = [not ref.expired() for ref in refs]
    result.sum().backward()
    return found


if __name__ == "__main__":
    rank, count, folder, _ = joined()
    group = torch.distributed.group.WORLD
    found = {}
    masks = {"all": None, "causal": qkv.Causal(), "window": qkv.Window(9, 4)}
    for name, mask in masks.items():
        for shards in ("in order", "balanced"):
            vectors = [torch.randn(2, 3, 20, 8).requires_grad_() for _ in range(3)]
            options = {"mask": mask, "shards": shards, "group": group}
            found[f"{name}, {shards}"], output = sent(partial(qkv.attend, *vectors, **options))
            found[f"{name}, {shards}, backward"], _ = sent(output.sum().backward)
    found["held by a product"] = held(partial(qkv.attend, group=group))
    options = {"mask": qkv.Causal(), "normalizer": qkv.Sparsemax(), "group": group}
    found["held by a sparse product"] = held(partial(qkv.attend, **options))
    found["held by entropy"] = held(lambda q, k, v: qkv.attention(q, k, group=group).entropy())
    write(rank, folder, found)
    torch.distributed.destroy_process_group()
