"""Requests of a group, each compared with the same request of one process: run by every rank."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from ranks import joined, write
from torch import Tensor

import qkv
from qkv.request.shards import Held, held_balanced, held_in_order

EVERYTHING = (
    "product", "mass", "entropy", "top", "pool", "mean", "distance", "support", "diagonals",
    "collected",
)  # fmt: skip

MEASURES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "product": lambda value, x: qkv.Product(value),
    "collected": lambda value, x: qkv.Collected(x),
    "mass": lambda value, x: qkv.Mass(),
    "entropy": lambda value, x: qkv.Entropy(),
    "top": lambda value, x: qkv.Top(3),
    "pool": lambda value, x: qkv.Pool(3, 4),
    "mean": lambda value, x: qkv.Pool(3, 4, "mean"),
    "distance": lambda value, x: qkv.Distance(),
    "support": lambda value, x: qkv.Support(),
    "logsumexp": lambda value, x: qkv.LogSumExp(),
    "diagonals": lambda value, x: qkv.Diagonals([-1, 0, 2]),
}
# Which dimension of a result is cut as queries or keys are; none of a map of the whole matrix.
BY_QUERY = {
    "product": -2, "top": -2, "diagonals": -2, "entropy": -1, "distance": -1, "support": -1,
    "logsumexp": -1,
}  # fmt: skip
BY_KEY = {"collected": -2, "mass": -1}
WITHOUT_GRADIENT = ("support", "pool")


@dataclass
class Case:
    """A request: stages are made anew for each side."""

    stages: Callable[[torch.dtype], dict[str, Any]] = lambda dtype: {}
    measures: tuple[str, ...] = ("product",)
    queries: list[int] = field(default_factory=lambda: [7, 5, 9, 4])  # of each rank
    keys: list[int] | None = None  # default: as the queries
    balanced: bool = False
    dropout: float = 0.0
    offset: Any = None
    dtype: torch.dtype = torch.float64
    heads: tuple[int, int] | None = (4, 2)  # of queries and keys; None: no such dimension


def per_head(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(4, *shape, dtype=dtype)


def stages(**made: Any) -> Callable[[torch.dtype], dict[str, Any]]:
    return lambda dtype: {n: s(dtype) if callable(s) else s for n, s in made.items()}


causal = stages(mask=qkv.Causal())
CASES: dict[str, Case] = {
    "everything": Case(causal, (*EVERYTHING, "logsumexp")),
    "nothing hidden": Case(measures=("product", "logsumexp")),
    "causal": Case(causal),
    "causal, balanced": Case(causal, balanced=True),
    "balanced, all measures": Case(causal, (*EVERYTHING, "logsumexp"), balanced=True),
    "a window": Case(stages(mask=qkv.Window(3, 2)), ("product", "mass")),
    "not a window": Case(stages(mask=~qkv.Window(1, 2)), ("product", "mass", "top")),
    "documents": Case(
        stages(mask=lambda _: qkv.Documents(lengths=torch.tensor([3, 0, 6, 2])) & qkv.Causal()),
        ("product", "mass", "top", "logsumexp"),
    ),
    "documents by ids": Case(stages(mask=lambda _: qkv.Documents(ids=torch.arange(25) // 4))),
    "padding": Case(
        stages(mask=lambda _: qkv.Padding(torch.tensor([3, 11])) | qkv.Prefix(2)),
        ("product", "mass", "top", "entropy"),
    ),
    "intervals": Case(
        stages(mask=lambda _: qkv.Intervals(torch.arange(25) // 2, torch.arange(25) + 1)),
    ),
    "a sink": Case(
        stages(mask=qkv.Causal(), normalizer=lambda dtype: qkv.Softmax(per_head(dtype))),
        ("product", "logsumexp"),
    ),
    "a sink, all measures": Case(
        stages(mask=qkv.Causal(), normalizer=lambda dtype: qkv.Softmax(per_head(dtype))), EVERYTHING
    ),
    "sigmoid": Case(
        stages(mask=qkv.Causal(), normalizer=lambda dtype: qkv.Sigmoid(per_head(dtype))), EVERYTHING
    ),
    "identity": Case(
        stages(mask=qkv.Causal(), normalizer=qkv.Identity()),
        ("product", "pool", "mean", "diagonals", "collected", "top"),
    ),
    "sparsemax": Case(stages(mask=qkv.Causal(), normalizer=qkv.Sparsemax()), EVERYTHING),
    "entmax 1.5": Case(stages(normalizer=qkv.Entmax15()), ("product", "mass"), balanced=True),
    "entmax": Case(
        stages(normalizer=lambda dtype: qkv.Entmax(torch.tensor([1.3], dtype=dtype))),
        ("product", "mass"),
    ),
    "entmax of 1": Case(stages(normalizer=qkv.Entmax(1)), ("product", "mass")),
    "relative": Case(
        stages(mask=qkv.Causal(), bias=lambda dtype: qkv.RelativeBias(per_head(dtype, 8), True, 16))
    ),
    "alibi": Case(
        stages(bias=lambda dtype: qkv.ALiBi(per_head(dtype).abs())), ("product", "entropy")
    ),
    "a soft cap": Case(stages(bias=qkv.SoftCap(2.0)), ("product", "logsumexp")),
    "additive": Case(stages(score=lambda dtype: qkv.Additive(torch.randn(8, dtype=dtype)))),
    "bilinear": Case(
        stages(score=lambda dtype: qkv.Bilinear(torch.randn(8, 8, dtype=dtype))),
        ("product", "mass"),
    ),
    "dropout": Case(causal, ("product", "mass", "top", "mean"), dropout=0.3),
    "dropout of a product": Case(causal, dropout=0.3),
    "other keys": Case(
        causal, ("product", "mass", "top", "distance"), keys=[3, 8, 0, 6], offset="end"
    ),
    "offsets": Case(causal, keys=[3, 8, 2, 6], offset=torch.tensor([2, 5])),
    "ranks without queries": Case(causal, ("product", "mass", "top"), queries=[0, 5, 0, 9]),
    "nothing to see": Case(
        stages(mask=lambda _: qkv.Padding(torch.tensor([0, 4]))),
        ("product", "logsumexp", "entropy"),
    ),
    "without heads": Case(causal, ("product", "mass", "top", "pool"), heads=None),
    "float32": Case(causal, ("product", "entropy"), dtype=torch.float32),
    "bfloat16": Case(causal, dtype=torch.bfloat16),
}
# As parts of the largest number.
CLOSE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-2}


class Sides:
    """A case as one process and as a rank compute it."""

    def __init__(self, case: Case, rank: int, count: int) -> None:
        self.case, self.rank, self.count = case, rank, count
        held = held_balanced if case.balanced else held_in_order
        queries = case.queries[:count]
        keys = queries if case.keys is None else case.keys[:count]
        self.queries, self.keys = held(queries)[rank], held(keys)[rank]
        heads, key_heads = case.heads or (0, 0)
        make = partial(torch.randn, dtype=case.dtype)

        def vectors(heads: int, length: int, width: int) -> Tensor:
            return make(2, heads, length, width) if heads else make(length, width)

        self.vectors = [
            vectors(heads, sum(queries), 8),
            vectors(key_heads, sum(keys), 8),
            vectors(key_heads, sum(keys), 5),
            vectors(key_heads, sum(queries), 3),
        ]
        self.options = {n: self._fitted(s) for n, s in case.stages(case.dtype).items()}
        parts = [getattr(s, n, None) for s in self.options.values() for n in PARAMETERS]
        self.parameters = [p.requires_grad_() for p in parts if isinstance(p, Tensor)]

    def _fitted(self, stage: Any) -> Any:
        """A mask that was written for four ranks."""
        length = self.vectors[0].shape[-2]
        if isinstance(stage, qkv.Documents) and stage.ids is not None:
            return qkv.Documents(ids=stage.ids[:length])
        if isinstance(stage, qkv.Intervals):
            return qkv.Intervals(stage.start[:length], stage.stop[:length])
        return stage

    def whole(self) -> tuple[list[Tensor], list[Tensor]]:
        """Results and gradients of one process, cut as this rank has them."""
        leaves = [tensor.clone().requires_grad_() for tensor in self.vectors]
        results, gradients = self._computed(leaves, {})
        vectors = [self._cut(g, h, -2) for g, h in zip(gradients[:4], self._held, strict=True)]
        return [self._own(n, r) for n, r in results], [*vectors, *gradients[4:]]

    def shared(self) -> tuple[list[Tensor], list[Tensor]]:
        """Those of this rank of a group."""
        pairs = zip(self.vectors, self._held, strict=True)
        leaves = [self._cut(tensor, held, -2).requires_grad_() for tensor, held in pairs]
        how = "balanced" if self.case.balanced else "in order"
        group = torch.distributed.group.WORLD
        results, gradients = self._computed(leaves, {"group": group, "shards": how})
        return [result for _, result in results], gradients

    @property
    def _held(self) -> tuple[Held, ...]:
        return self.queries, self.keys, self.keys, self.queries

    def _cut(self, tensor: Tensor, held: Held, dim: int) -> Tensor:
        return torch.cat([tensor.narrow(dim, a, b - a) for a, b in held], dim).detach()

    def _own(self, name: str, result: Tensor) -> Tensor:
        for held, cut in ((self.queries, BY_QUERY), (self.keys, BY_KEY)):
            if name in cut:
                return self._cut(result, held, cut[name])
        return result

    def _computed(
        self, leaves: list[Tensor], group: dict[str, Any]
    ) -> tuple[list[tuple[str, Tensor]], list[Tensor]]:
        case = self.case
        query, key, value, x = leaves
        matrix = qkv.attention(query, key, query_offset=case.offset, **self.options, **group)
        if case.dropout:
            matrix = matrix.dropout(case.dropout, seed=5)
        found = matrix.measure(*(MEASURES[name](value, x) for name in case.measures))
        weights = [r.weights if isinstance(r, qkv.Links) else r for r in found]
        results = list(zip(case.measures, weights, strict=True))
        loss = sum(self._share(n, r, bool(group)) for n, r in results if n not in WITHOUT_GRADIENT)
        gradients = torch.autograd.grad(
            loss, [*leaves, *self.parameters], materialize_grads=True, allow_unused=True
        )
        return [(name, result.detach()) for name, result in results], list(gradients)

    def _share(self, name: str, result: Tensor, of_group: bool) -> Tensor:
        """What a result adds to the loss of its rank; those of all ranks add up to that of one
        process."""
        result = torch.where(result.isinf(), 0, result)
        sizes = list(result.shape)
        for cut, vectors in ((BY_QUERY, self.vectors[0]), (BY_KEY, self.vectors[1])):
            if name in cut:
                sizes[cut[name]] = vectors.shape[-2]
        place = torch.arange(torch.Size(sizes).numel(), dtype=torch.float64).reshape(sizes)
        factor = torch.cos(place).to(result.dtype)
        if not of_group:
            return (result * factor).sum()
        if name in BY_QUERY or name in BY_KEY:
            return (result * self._own(name, factor)).sum()
        return (result * factor).sum() / self.count


PARAMETERS = ("sink", "bias", "alpha", "table", "slopes", "weight")


def difference(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> float:
    """By how many times what is allowed they differ."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    if found.numel() == 0:
        return 0.0
    found, wanted = found.double(), wanted.double()
    apart = torch.where(found == wanted, 0, (found - wanted).abs()).max()
    finite = wanted[wanted.isfinite()]
    scale = max(1.0, float(finite.abs().max()) if finite.numel() else 0.0)
    return float(apart) / (scale * CLOSE[dtype])


def compared(case: Case, rank: int, count: int) -> dict[str, float]:
    torch.manual_seed(0)
    sides = Sides(case, rank, count)
    wanted, wanted_gradients = sides.whole()
    found, gradients = sides.shared()
    again, gradients_again = sides.shared()
    names = [*case.measures, *(f"gradient {i}" for i in range(len(gradients)))]
    pairs = zip((*found, *gradients), (*wanted, *wanted_gradients), strict=True)
    apart = [difference(a, b, case.dtype) for a, b in pairs]
    repeated = zip((*found, *gradients), (*again, *gradients_again), strict=True)
    same = all(torch.equal(a, b) for a, b in repeated)
    return dict(zip(names, apart, strict=True)) | {"same bits again": 0.0 if same else 9.0}


if __name__ == "__main__":
    rank, count, folder, _ = joined()
    write(rank, folder, {name: compared(case, rank, count) for name, case in CASES.items()})
    torch.distributed.destroy_process_group()
