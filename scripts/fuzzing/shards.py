"""Matrices that two processes share, beside one process."""

from __future__ import annotations

import multiprocessing
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

import qkv
from qkv.masks import MASKS
from qkv.matrix.tensors import map_tensors
from qkv.normalizers import NORMALIZERS
from qkv.request.shards import Held, held_balanced, held_in_order
from qkv.scores import SCORES
from qkv.testing import Sizes, assert_close, examples
from qkv.testing.examples import EVERY_BIAS, drawing

from .target import Target

RANKS = 2
_ANSWER = 60  # seconds that a rank has for one case
_UNSUPPORTED = "UnsupportedError: "
_OTHER_RANK = re.compile(r"^RuntimeError: attention: rank \d+ of the group failed: ")
_DTYPES = {"float64": torch.float64, "float32": torch.float32}
_MEASURES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "product": lambda value, x: qkv.Product(value),
    "collected": lambda value, x: qkv.Collected(x),
    "mass": lambda value, x: qkv.Mass(),
    "entropy": lambda value, x: qkv.Entropy(),
    "top": lambda value, x: qkv.Top(2),
    "pool": lambda value, x: qkv.Pool(2, 2, "sum"),
    "distance": lambda value, x: qkv.Distance(),
    "logsumexp": lambda value, x: qkv.LogSumExp(),
    "diagonals": lambda value, x: qkv.Diagonals([-1, 0, 2]),
}
# Which dimension of a result is cut as queries or keys are; a pooled map is of the whole matrix.
_BY_QUERY = {
    "product": -2, "top": -2, "diagonals": -2, "entropy": -1, "distance": -1, "logsumexp": -1,
}  # fmt: skip
_BY_KEY = {"collected": -2, "mass": -1}

Stage = tuple[str, int]  # a class by its name, and which of its examples


@dataclass(frozen=True)
class Case:
    """Lengths of each rank, stages as examples of `qkv.testing`, measures, and numbers."""

    queries: tuple[int, ...]
    keys: tuple[int, ...] | None  # None: as the queries
    balanced: bool
    heads: tuple[int, int]
    score: Stage
    bias: Stage | None
    mask: Stage | None
    normalizer: Stage
    offset: Any
    dropout: float
    measures: tuple[str, ...]
    dtype: str
    seed: int


class Shards(Target):
    """Each rank's results and gradients are its share of those of one process. What one process
    refuses the ranks refuse, all of them; they may refuse more, by UnsupportedError."""

    name = "shards"
    about = f"matrices shared by {RANKS} processes, beside one process"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        context = multiprocessing.get_context("spawn")
        store = tempfile.mktemp(dir=folder)
        self.pipes, self.ranks = [], []
        for rank in range(RANKS):
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(rank, store, there), daemon=True)
            process.start()
            self.pipes.append(here)
            self.ranks.append(process)

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.ranks:
            process.join(_ANSWER)
            process.kill()

    def cases(self) -> st.SearchStrategy[Case]:
        lengths = st.tuples(*[st.integers(0, 7)] * RANKS)
        return st.builds(
            Case,
            queries=lengths,
            keys=st.none() | lengths,
            balanced=st.booleans(),
            heads=st.sampled_from([(2, 2), (2, 1), (1, 1)]),
            score=_stages(SCORES),
            bias=st.none() | _stages(EVERY_BIAS),
            mask=st.none() | _stages(MASKS),
            normalizer=_stages(NORMALIZERS),
            offset=st.sampled_from([0, "start", "end", 2, -1]),
            dropout=st.sampled_from([0.0, 0.0, 0.4]),
            measures=st.lists(
                st.sampled_from([*_MEASURES]), min_size=1, max_size=3, unique=True
            ).map(tuple),
            dtype=st.sampled_from([*_DTYPES]),
            seed=st.integers(0, 2**16),
        )

    def check(self, case: Case) -> str:
        for pipe in self.pipes:
            pipe.send(case)
        shares = []
        for rank, pipe in enumerate(self.pipes):
            assert pipe.poll(_ANSWER), f"rank {rank} does not answer"
            shares.append(pipe.recv())
        refusals = [share for share in shares if isinstance(share, str)]
        assert len(refusals) in (0, RANKS), f"some ranks refuse, others answer: {refusals}"
        exact = _Side(case, torch.float64)
        try:
            oracle = exact.computed()
            baseline = _Side(case, _DTYPES[case.dtype]).computed()
        except (ValueError, TypeError, qkv.UnsupportedError) as error:
            if not refusals:
                raise AssertionError("the ranks answer what one process refuses") from error
            return str(error)
        if refusals:
            return _reason(refusals)
        largest = max([exact.magnified, *(float(t[t.isfinite()].abs().amax()) for t in
                                          oracle.values() if t.isfinite().any())])  # fmt: skip
        rounding = 64 * torch.finfo(_DTYPES[case.dtype]).eps * largest
        for rank, share in enumerate(shares):
            assert share.keys() == oracle.keys()
            for name, found in share.items():
                right, dense = (exact.own(name, all_[name], rank) for all_ in (oracle, baseline))
                assert_close(found, right, dense, what=f"{name} of rank {rank}", rounding=rounding)
        return ""


def _reason(refusals: list[str]) -> str:
    """Why a group refuses what one process answers: some ranks say it, the others name one of them.

    Raises:
        AssertionError: it is another kind of error.
    """
    reasons = {
        text.removeprefix(_UNSUPPORTED) for text in refusals if text.startswith(_UNSUPPORTED)
    }
    for text in refusals:
        told = _OTHER_RANK.sub("", text).removeprefix(_UNSUPPORTED)
        assert told in reasons, refusals
    return min(reasons)


def _stages(kinds: tuple[type, ...]) -> st.SearchStrategy[Stage]:
    return st.tuples(st.sampled_from([kind.__name__ for kind in kinds]), st.integers(0, 3))


_KINDS = {kind.__name__: kind for kind in (*SCORES, *EVERY_BIAS, *MASKS, *NORMALIZERS)}


def serve(rank: int, store: str, pipe: Any) -> None:
    """A rank: answers one case after the other, with its share or the text of the refusal."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS,
        timeout=timedelta(seconds=_ANSWER / 2),
    )  # fmt: skip
    while (case := pipe.recv()) is not None:
        try:
            pipe.send(_Side(case, _DTYPES[case.dtype]).computed(rank))
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")
    torch.distributed.destroy_process_group()


class _Side:
    """A case in one dtype, its numbers rounded to the case's, for one process or for a rank."""

    def __init__(self, case: Case, dtype: torch.dtype) -> None:
        self.case, self.dtype = case, dtype
        self.magnified = 1.0  # see _of_mean
        held = held_balanced if case.balanced else held_in_order
        lengths = [list(case.queries), list(case.keys or case.queries)]
        self.queries, self.keys = (held(each) for each in lengths)
        heads, key_heads = case.heads
        sizes = Sizes((2,), heads, key_heads, *map(sum, lengths), 4, 3)
        draw = drawing(case.seed)
        self.vectors = {
            "query": draw(*sizes.lead, sizes.queries, 4),
            "key": draw(*sizes.key_lead, sizes.keys, 4),
            "value": draw(*sizes.key_lead, sizes.keys, 3),
            "x": draw(*sizes.lead, sizes.queries, 2),
        }
        self.stages = {
            name: _made(stage, sizes, draw)
            for name, stage in (
                ("score", case.score), ("bias", case.bias), ("mask", case.mask),
                ("normalizer", case.normalizer),
            )
            if stage is not None
        }  # fmt: skip

    def own(self, name: str, tensor: Tensor, rank: int) -> Tensor:
        """What a rank has of a result or gradient of the whole."""
        cuts: dict[str, tuple[tuple[Held, ...], int]] = {
            **{n: (self.queries, dim) for n, dim in _BY_QUERY.items()},
            **{n: (self.keys, dim) for n, dim in _BY_KEY.items()},
            **{f"gradient of {n}": (self.queries, -2) for n in ("query", "x")},
            **{f"gradient of {n}": (self.keys, -2) for n in ("key", "value")},
        }
        if name not in cuts:
            return tensor
        held, dim = cuts[name]
        return torch.cat([tensor.narrow(dim, a, b - a) for a, b in held[rank]], dim)

    def computed(self, rank: int | None = None) -> dict[str, Tensor]:
        """Results and gradients by name, of the whole or of a rank's share."""
        case = self.case
        leaves: dict[str, Tensor] = {}

        def leaf(name: str, tensor: Tensor) -> Tensor:
            narrow = tensor.to(_DTYPES[case.dtype]).to(self.dtype)
            leaves[name] = narrow.detach().clone().requires_grad_()
            return leaves[name]

        def of_stage(tensor: Tensor) -> Tensor:
            name = f"gradient of stage {len(leaves)}"
            return leaf(name, tensor) if tensor.is_floating_point() else tensor

        query, key, value, x = (
            leaf(name, tensor if rank is None else self.own(name, tensor, rank))
            for name, tensor in ((f"gradient of {n}", t) for n, t in self.vectors.items())
        )
        options = map_tensors(self.stages, of_stage)
        shared: dict[str, Any] = {}
        if rank is not None:
            how = "balanced" if case.balanced else "in order"
            shared = {"group": torch.distributed.group.WORLD, "shards": how}
        matrix = qkv.attention(query, key, query_offset=case.offset, **options, **shared)
        if case.dropout:
            matrix = matrix.dropout(case.dropout, seed=case.seed)
        asked = [_MEASURES[name](value, x) for name in case.measures]
        found = [r.weights if isinstance(r, qkv.Links) else r for r in matrix.measure(*asked)]
        results = dict(zip(case.measures, found, strict=True))
        if rank is None and "distance" in results:
            mass = (matrix @ torch.ones_like(value)).detach()[..., 0]
            self.magnified = _of_mean(results["distance"].detach(), mass)
        loss = torch.stack([self._loss(n, r, rank) for n, r in results.items()]).sum()
        gradients = [torch.zeros_like(leaf) for leaf in leaves.values()]
        if loss.requires_grad:  # not so, where nothing is asked of anybody
            gradients = torch.autograd.grad(
                loss, [*leaves.values()], materialize_grads=True, allow_unused=True
            )
        results |= dict(zip(leaves, gradients, strict=True))
        return {name: result.detach() for name, result in results.items()}

    def _loss(self, name: str, result: Tensor, rank: int | None) -> Tensor:
        """What a result adds to the loss of its rank: those of all ranks add up to the whole's."""
        whole = list(result.shape)
        if name in _BY_QUERY:
            whole[_BY_QUERY[name]] = self.vectors["query"].shape[-2]
        if name in _BY_KEY:
            whole[_BY_KEY[name]] = self.vectors["key"].shape[-2]
        factor = torch.linspace(-1, 1, torch.Size(whole).numel(), dtype=torch.float64)
        factor = factor.view(whole).to(result.dtype)
        finite = torch.where(result.isfinite(), result, 0)
        if rank is None:
            return (finite * factor).sum().double()
        share = (finite * self.own(name, factor, rank)).sum().double()
        return share if name in _BY_QUERY or name in _BY_KEY else share / RANKS


def _of_mean(mean: Tensor, mass: Tensor) -> float:
    """How large the terms are whose difference is the gradient of a mean to one of its weights,
    (distance - mean) / mass: what dropout leaves of a row may be little, and the difference 0."""
    terms = (mean / mass).abs()
    return max([1.0, *terms[terms.isfinite()].tolist()])


def _made(stage: Stage, sizes: Sizes, draw: Any) -> Any:
    name, which = stage
    some = examples(_KINDS[name], sizes, draw)
    return some[which % len(some)]
