"""What attention over several processes costs, beside what the model of its costs says.

    python benchmarks/ring.py                  measures on 1, 2 and 4 processes of one machine
    python benchmarks/ring.py --model          the model alone, for up to 10 million places

Each process has its share of one sequence: causal, balanced shares, float32. Printed for each
number of processes, the median over repeats of the slowest process:

* `ring`: `qkv.attend(..., group=...)`, and with `--backward` its derivative;
* `computing`: the same with nothing sent; what would arrive is zeros;
* `sending`: the same tensors sent in the same rounds with nothing computed;
* `sum`: of the last two. A ring that takes less has hidden a part of its sending behind computing.

`MiB sent` is counted, the mean over ranks, `model` what the model says of it. `memory` is by how
much the peak of a fresh process grew over what it had with its queries, keys and values there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import qkv
from qkv.distributed import exchange
from qkv.distributed.cuts import Cuts

MIB = 2**20


def sent_bytes(
    length: int, ranks: int, heads: int, width: int, size: int, backward: bool, window: int = 0
) -> int:
    """What a rank sends, the mean over ranks: keys and values that others see, and on the way back
    as many gradients in the type of the sums. Of two balanced shares under a causal mask one sees
    all of the other's keys and the other half; a window's keys go to one neighbour."""
    keys = window / ranks if window else 3 / 4 * length / ranks
    vectors = int((ranks - 1) * keys * heads * 2 * width)
    return vectors * (2 * size + max(size, 4) if backward else size)


def multiplications(length: int, ranks: int, heads: int, width: int, backward: bool) -> float:
    """Multiply-adds of a rank, causal: two products forward, five more backward."""
    return heads * length**2 / 2 / ranks * width * (7 if backward else 2)


def grown_bytes(
    length: int, ranks: int, heads: int, width: int, size: int, backward: bool, window: int = 0
) -> int:
    """What a rank holds beside query, key and value, in shares of `length / ranks`: the output and
    that of a part, the keys and values that are there and those that come. With a derivative, in
    the type of the sums: the gradient of the output, those of query, key and value, what goes home
    and what comes from the others, and for a part its output, the gradient of that, three gradients
    and the kernel's own. Parts are half a share where shares are balanced."""
    share, part = length // ranks * heads * width, 1 if window else 1 / 2
    coming = 0 if window else min(2, ranks - 1) * 2
    forward = share * (size * (1 + coming) + max(size, 4) * part)
    if not backward:
        return int(forward)
    home = 2 + (2 if ranks > 1 and not window else 0)
    return int(forward + share * (size + max(size, 4) * (3 + home + 6 * part)))


def print_model(arguments: argparse.Namespace) -> None:
    heads, width, size = arguments.heads, arguments.width, 2
    print(f"{heads} heads of width {width}, causal, bfloat16, forward and backward, per rank\n")
    print("|          n | ranks | multiply-adds | GB sent | GB held |")
    print("|-----------:|------:|--------------:|--------:|--------:|")
    for length in (10**5, 10**6, 10**7):
        for ranks in (1, 4, 16, 64):
            work = multiplications(length, ranks, heads, width, True)
            how = (length, ranks, heads, width, size, True)
            own = 3 * length // ranks * heads * width * size
            sent, held = sent_bytes(*how) / 1e9, (own + grown_bytes(*how)) / 1e9
            print(f"| {length:10,} | {ranks:5} | {work:13.1e} | {sent:7.2f} | {held:7.2f} |")


@contextmanager
def nothing_sent() -> Iterator[None]:
    """Transfers that bring zeros at once."""
    original = torch.distributed.batch_isend_irecv

    def arrived(operations: list[Any]) -> list[Any]:
        for operation in operations:
            if operation.op is torch.distributed.irecv:
                operation.tensor.zero_()
        return []

    torch.distributed.batch_isend_irecv = arrived
    try:
        yield
    finally:
        torch.distributed.batch_isend_irecv = original


def counted(act: Callable[[], object]) -> int:
    """The bytes that an act sends to single ranks."""
    original, total = torch.distributed.batch_isend_irecv, 0

    def counting(operations: list[Any]) -> list[Any]:
        nonlocal total
        sent = (o for o in operations if o.op is torch.distributed.isend)
        total += sum(operation.tensor.nbytes for operation in sent)
        return original(operations)

    torch.distributed.batch_isend_irecv = counting
    act()
    torch.distributed.batch_isend_irecv = original
    return total


class Rank:
    """What one process measures."""

    def __init__(self, arguments: argparse.Namespace, ranks: int) -> None:
        self.group = torch.distributed.group.WORLD
        shape = (arguments.heads, arguments.length // ranks, arguments.width)
        self.vectors = [torch.randn(shape) for _ in range(3)]
        self.backward = arguments.backward
        self.mask = qkv.Window(arguments.window, 0) if arguments.window else qkv.Causal()
        self.shards = "in order" if arguments.window else "balanced"

    def ring(self) -> None:
        leaves = [vector.detach().requires_grad_(self.backward) for vector in self.vectors]
        options = {"mask": self.mask, "group": self.group, "shards": self.shards}
        output = qkv.attend(*leaves, **options)
        if self.backward:
            torch.autograd.grad(output, leaves, torch.ones_like(output))

    def computing(self) -> None:
        with nothing_sent():
            self.ring()

    def sending(self) -> None:
        query, *own = self.vectors
        options = {"mask": self.mask, "group": self.group, "shards": self.shards}
        matrix = qkv.attention(query, own[0], **options)
        assert matrix.shards is not None
        cuts = Cuts(matrix, matrix.shards)
        needed = [cuts.needed(rank) for rank in range(matrix.shards.count)]
        exchange.travel(matrix.shards, needed, own, lambda rank, visiting: [])
        if self.backward:
            home = [torch.zeros_like(tensor) for tensor in own]
            exchange.travel(matrix.shards, needed, own, lambda rank, visiting: list(visiting), home)

    def seconds(self, act: Callable[[], None]) -> float:
        """How long the slowest rank takes."""
        torch.distributed.barrier()
        start = time.perf_counter()
        act()
        taken = torch.tensor(time.perf_counter() - start, dtype=torch.float64)
        torch.distributed.all_reduce(taken, torch.distributed.ReduceOp.MAX)
        return float(taken)


def run_rank(arguments: argparse.Namespace) -> None:
    """One process: measures, and the first writes what it found."""
    rank, ranks, folder = arguments.rank
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group(
        "gloo", init_method=store, rank=int(rank), world_size=int(ranks)
    )
    own = Rank(arguments, int(ranks))
    small = [vector[:, :64].contiguous() for vector in own.vectors]
    whole, own.vectors = own.vectors, small
    own.ring()  # all that is loaded once
    own.vectors = whole
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bytes_sent = torch.tensor(counted(own.ring), dtype=torch.float64)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    torch.distributed.all_reduce(bytes_sent)
    acts = {"ring": own.ring, "computing": own.computing, "sending": own.sending}
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(arguments.repeats):
        for name, act in acts.items():
            times[name].append(own.seconds(act))
    if int(rank) == 0:
        found = {name: statistics.median(own) for name, own in times.items()}
        found |= {"sent": float(bytes_sent) / int(ranks), "memory": memory}
        (Path(folder) / "found.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def measured(arguments: argparse.Namespace, ranks: int) -> dict[str, float]:
    """What so many processes found."""
    with tempfile.TemporaryDirectory() as folder:
        given = [argument for argument in sys.argv[1:] if argument != "--model"]
        commands = [
            [sys.executable, __file__, *given, "--rank", str(rank), str(ranks), folder]
            for rank in range(ranks)
        ]
        processes = [subprocess.Popen(command) for command in commands]
        statuses = [process.wait() for process in processes]
        if any(statuses):
            raise SystemExit("a process failed")
        return json.loads((Path(folder) / "found.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description="What attention over processes costs.")
    parser.add_argument("--length", type=int, default=8192, help="of the whole sequence")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--window", type=int, default=0, help="keys that a query looks back")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--model", action="store_true")
    parser.add_argument("--rank", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank:
        run_rank(arguments)
        return
    if arguments.model:
        print_model(arguments)
        return
    sizes = (arguments.heads, arguments.width, 4, arguments.backward, arguments.window)
    what = f"{arguments.heads} heads of {arguments.width}"
    print(f"n {arguments.length:,}, {what}, {os.cpu_count()} cores\n")
    print("| ranks | ring s | computing | sending | sum | MiB sent | model | memory MiB | model |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for ranks in arguments.ranks:
        found = measured(arguments, ranks)
        model = [f(arguments.length, ranks, *sizes) / MIB for f in (sent_bytes, grown_bytes)]
        both = found["computing"] + found["sending"]
        times = " | ".join(f"{found[n]:.3f}" for n in ("ring", "computing", "sending"))
        sent, memory = found["sent"] / MIB, found["memory"] / MIB
        print(
            f"| {ranks} | {times} | {both:.3f} | {sent:.1f} | {model[0]:.1f} "
            f"| {memory:.1f} | {model[1]:.1f} |"
        )


if __name__ == "__main__":
    main()
