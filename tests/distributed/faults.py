"""What a group says where ranks ask for different things, where it refuses, and where one dies."""

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Timer
from typing import Any

import torch
from ranks import joined, write
from torch import Tensor

import qkv


def vectors(dtype: torch.dtype = torch.float32, width: int = 8) -> list[Tensor]:
    return [torch.randn(2, 4, 6, width, dtype=dtype) for _ in range(3)]


def message(act: Callable[[], object]) -> str:
    """The error that an act ends in."""
    try:
        act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def disagreements(rank: int) -> dict[str, str]:
    """Rank 1 asks for something else than the others."""
    group, odd = torch.distributed.group.WORLD, rank == 1
    query, key, value = vectors()
    wide, narrow = vectors(torch.float64), vectors(width=4)
    mask = qkv.Window(2, 0) if odd else qkv.Causal()
    lengths = torch.tensor([9, 9 if odd else 3])
    heads = [t[:, :2] for t in (query, key, value)] if odd else [query, key, value]
    matrix, sink = qkv.attention(query, key, group=group), torch.zeros(query.shape[1])
    same_sum = torch.tensor([5, 4] if odd else [3, 5])  # of first number and twice the second
    documents = qkv.Documents(lengths=torch.cat([same_sum, torch.zeros(9, dtype=torch.long)]))
    acts = {
        "dtype": lambda: qkv.attend(*(wide if odd else vectors()), group=group),
        "width": lambda: qkv.attend(*(narrow if odd else vectors()), group=group),
        "heads": lambda: qkv.attend(*heads, group=group),
        "mask": lambda: qkv.attend(query, key, value, mask=mask, group=group),
        "lengths": lambda: qkv.attend(
            query, key, value, mask=qkv.Documents(lengths=lengths), group=group
        ),
        "few lengths": lambda: qkv.attend(
            query, key, value, mask=qkv.Padding(same_sum), group=group
        ),
        "many lengths": lambda: qkv.attend(query, key, value, mask=documents, group=group),
        "device": lambda: qkv.attention(
            *[t.to("meta" if odd else "cpu") for t in (query, key)], group=group
        ),
        "shards": lambda: qkv.attention(
            query, key, group=group, shards="balanced" if odd else "in order"
        ),
        "impl": lambda: qkv.attention(query, key, group=group, impl="tiled" if odd else "auto"),
        "gradients": lambda: matrix @ (value.clone().requires_grad_() if odd else value),
        "gradients of a stage": lambda: qkv.attend(
            query, key, value, normalizer=qkv.Softmax(sink.requires_grad_(odd)), group=group
        ),
        "measure": lambda: matrix.mass() if odd else matrix.entropy(),
    }
    return {name: message(act) for name, act in acts.items()}


def mistakes(rank: int) -> dict[str, str]:
    """Rank 1 breaks a rule where the others do not."""
    group, odd = torch.distributed.group.WORLD, rank == 1
    query, key, value = vectors()
    matrix = qkv.attention(query, key, group=group)
    acts = {
        "key": lambda: qkv.attention(query, key[..., :3] if odd else key, group=group),
        "shards": lambda: qkv.attention(
            query, key, group=group, shards="halves" if odd else "in order"
        ),
        "rows of the value": lambda: matrix @ (value[..., :3, :] if odd else value),
        "dtype of the value": lambda: matrix @ (value.double() if odd else value),
        "no value": lambda: matrix @ ("value" if odd else value),
        "what is collected": lambda: matrix.mT @ (query.double() if odd else query),
        "dropout": lambda: qkv.attend(query, key, value, dropout=2.0 if odd else 0.2, group=group),
        "dropout of a matrix": lambda: matrix.dropout(2.0 if odd else 0.2) @ value,
        "top": lambda: matrix.top(0 if odd else 2),
        "pool": lambda: matrix.pool(0 if odd else 2, 2),
        "diagonals": lambda: matrix.diagonals([] if odd else [0]),
        "measure": lambda: matrix.measure(3 if odd else qkv.Mass()),
    }
    found = {name: message(act) for name, act in acts.items()}
    assert (matrix @ value).shape == value.shape  # none of them left the ranks out of step
    return found


class Nothing(torch.autograd.Function):
    """Passes on what it is given, and no gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> None:
        return None


def without_gradient(rank: int) -> dict[str, float]:
    """How far gradients are from those of one process, where that of rank 1's output is none."""
    group = torch.distributed.group.WORLD
    torch.manual_seed(0)
    whole = [torch.randn(2, 4, 18, 8, dtype=torch.float64) for _ in range(3)]
    mine = slice(6 * rank, 6 * rank + 6)
    alone = [t.clone().requires_grad_() for t in whole]
    shared = [t[..., mine, :].clone().requires_grad_() for t in whole]
    output = qkv.attend(*alone)
    (output[..., :6, :].square().sum() + output[..., 12:, :].square().sum()).backward()
    own = qkv.attend(*shared, group=group)
    (Nothing.apply(own) if rank == 1 else own).square().sum().backward()
    pairs = zip(("query", "key", "value"), alone, shared, strict=True)
    return {n: float((a.grad[..., mine, :] - b.grad).abs().max()) for n, a, b in pairs}


def other_defaults(rank: int) -> dict[str, float]:
    """How far outputs are from those of one process where torch's defaults are others."""
    group, apart = torch.distributed.group.WORLD, {}
    torch.manual_seed(0)
    whole = [torch.randn(2, 4, 18, 8, dtype=torch.float64) for _ in range(3)]
    query, key, value = (t[..., 6 * rank : 6 * rank + 6, :] for t in whole)
    for normalizer in (qkv.Softmax(), qkv.Sparsemax(), qkv.Entmax15()):
        wanted = qkv.attend(*whole, mask=qkv.Causal(), normalizer=normalizer)
        torch.set_default_dtype(torch.float16)
        with torch.device("meta"):
            matrix = qkv.attention(
                query, key, mask=qkv.Causal(), normalizer=normalizer, group=group
            )
            found, _ = matrix.measure(qkv.Product(value), qkv.Mass())
        torch.set_default_dtype(torch.float32)
        wanted = wanted[..., 6 * rank : 6 * rank + 6, :]
        apart[normalizer.name] = float((found - wanted).abs().max())
    return apart


def left_out(rank: int) -> dict[str, str]:
    """Rank 1 leaves one of two equal requests out of its backward pass."""
    group = torch.distributed.new_group(timeout=timedelta(seconds=5))
    query, key, value = vectors()
    query.requires_grad_()
    first, second = (qkv.attend(query, key, value, group=group).sum() for _ in range(2))
    return {"backward": message((first if rank == 1 else first + second).backward)}


def refusals(rank: int) -> dict[str, str]:
    """What all ranks ask for, and a group does not give."""
    group = torch.distributed.group.WORLD
    query, key, value = vectors()
    make = {"query": query, "key": key, "group": group}
    matrix = qkv.attention(**make)

    def twice() -> object:
        leaf = query.clone().requires_grad_()
        output = qkv.attend(leaf, key, value, group=group)
        return torch.autograd.grad(output.sum(), leaf, create_graph=True)

    def gradients_in_batches() -> object:
        leaf = query.clone().requires_grad_()
        output = qkv.attend(leaf, key, value, group=group)
        return torch.autograd.grad(output, leaf, torch.ones(3, 2, 4, 6, 8), is_grads_batched=True)

    def forward_mode() -> object:
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(query, query)
            return qkv.attend(dual, key, value, group=group)

    def dual_slopes() -> object:
        with torch.autograd.forward_ad.dual_level():
            slopes = torch.autograd.forward_ad.make_dual(torch.ones(4), torch.ones(4))
            return qkv.attend(query, key, value, bias=qkv.ALiBi(slopes), group=group)

    def by(impl: str, key: Tensor, **stages: Any) -> qkv.AttentionMatrix:
        return qkv.attention(query, key, impl=impl, group=group, **stages)

    def with_sink(sink: Tensor) -> Tensor:
        return qkv.attend(query, key, value, normalizer=qkv.Softmax(sink), group=group).sum()

    def twice_of_a_sink() -> object:
        sink = torch.zeros(4, requires_grad=True)
        return torch.autograd.grad(with_sink(sink), sink, create_graph=True)

    def twice_of_a_pooling() -> object:
        pooling = qkv.nn.AttentionPooling(8, group=group)
        loss = pooling(query).square().sum()
        return torch.autograd.grad(loss, pooling.attention.output.weight, create_graph=True)

    compiled = torch.compile(lambda q: qkv.attend(q, key, value, group=group), backend="eager")
    acts = {
        "topk": lambda: qkv.attention(**make, normalizer=qkv.TopK(3)),
        "a steep entmax": lambda: qkv.attention(**make, normalizer=qkv.Entmax(2.5)),
        "a callable": lambda: qkv.attention(**make, mask=lambda cells: cells.col > 0),
        "a dense mask": lambda: qkv.attention(**make, mask=qkv.Dense(torch.ones(6, 6) > 0)),
        "a tensor bias": lambda: qkv.attention(**make, bias=torch.ones(6, 6)),
        "documents in any order": lambda: qkv.attend(
            value=value, **make, mask=qkv.Documents(ids=torch.arange(18).flip(0))
        ),
        "a region": lambda: matrix[..., 0, 0],
        "a head": lambda: matrix[0, 0] @ value[0, 0],
        "scores": lambda: matrix.scores(0, 0),
        "a plan": lambda: matrix.plan(),
        "second derivatives": twice,
        "second derivatives of a sink": twice_of_a_sink,
        "second derivatives of a pooling": twice_of_a_pooling,
        "gradients in batches": gradients_in_batches,
        "forward mode": forward_mode,
        "forward mode of a stage": dual_slopes,
        "torch.func of a stage": lambda: torch.func.grad(with_sink)(torch.zeros(4)),
        "torch.compile": lambda: compiled(query),
        "no numbers": lambda: qkv.attend(*[t.to("meta") for t in (query, key, value)], group=group),
        "rollout": lambda: qkv.rollout([matrix], [0]),
        "vmap": lambda: torch.vmap(lambda q: qkv.attend(q, key[0], value[0], group=group))(query),
        "statistics by kernels": lambda: by("native", key).mass(),
        "thresholds by kernels": lambda: by("native", key, normalizer=qkv.Entmax15()) @ value,
        "parts by torch": lambda: by("torch", key) @ value,
        "positions": lambda: qkv.attention(query, key[..., :3, :], mask=qkv.Causal(), group=group),
    }
    found = {name: message(act) for name, act in acts.items()}
    # The first has all queries and the others all keys.
    rows = [
        query[..., : 0 if rank else 6, :],
        *(t[..., : 6 if rank else 0, :] for t in (key, value)),
    ]
    for impl in ("torch", "native", "tiled", "reference"):
        empty = qkv.attention(rows[0], rows[1], impl=impl, group=group)
        found[f"empty shares by {impl}"] = message(lambda empty=empty: empty @ rows[2])
        found[f"mass of empty shares by {impl}"] = message(empty.mass)
    padded = {"mask": qkv.Padding(torch.zeros(0, dtype=torch.long)), "group": group}
    assert qkv.attend(query[:0], key[:0], value[:0], **padded).shape == (0, 4, 6, 8)
    # None of them left the ranks out of step, and what shows a matrix asks nobody.
    shown = matrix._repr_html_() if rank == 0 else ""
    assert "img" not in shown
    assert (matrix @ value).shape == value.shape
    return found | {"repr": repr(matrix)}


def killed(rank: int, count: int, folder: Path) -> dict[str, object]:
    """The last rank dies amid products; what the others see of it, and after how long."""
    group = torch.distributed.group.WORLD
    query, key, value = vectors()
    matrix = qkv.attention(query, key, group=group)
    clock, error = folder / "died", "no error"

    def die() -> None:
        clock.write_text(str(time.time()))
        os.kill(os.getpid(), signal.SIGKILL)

    if rank == count - 1:
        Timer(0.3, die).start()
    while error == "no error":
        error = message(lambda: matrix @ value)
    return {"error": error, "after": time.time() - float(clock.read_text())}


if __name__ == "__main__":
    rank, count, folder, (what,) = joined()
    if what == "killed":
        write(rank, folder, killed(rank, count, folder))
        os._exit(0)  # what is left of the group cannot be taken apart together
    acts = {
        "disagree": disagreements,
        "refuse": refusals,
        "mistake": mistakes,
        "without gradient": without_gradient,
        "other defaults": other_defaults,
        "left out": left_out,
    }
    write(rank, folder, acts[what](rank))
    if what == "left out":
        os._exit(0)  # what is left of its group cannot be taken apart together
    torch.distributed.destroy_process_group()
