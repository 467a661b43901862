"""How many bytes each rank sends to each other one, in a product and in its derivative."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from ranks import joined, write

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
    write(rank, folder, found)
    torch.distributed.destroy_process_group()
