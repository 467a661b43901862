"""The kernels of every normalizer on a case, and what they must give: the definitions of qkv's own
stages in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from dense import Case, assert_within_contract, forward_and_backward, visible
from torch import Tensor

import qkv
from qkv.native.request import Dropout, Stages
from qkv.stage import dropout as _dropout


@dataclass(frozen=True)
class Kind:
    """A normalizer: its name for the kernels, qkv's stage of a parameter for each head, and values
    that the parameter takes."""

    name: str
    stage: Callable[[Tensor], qkv.Normalizer]
    parameter: tuple[float, float] | None = None
    top: int = 0

    def draw(self, given: Case) -> Tensor | None:
        if self.parameter is None:
            return None
        low, high = self.parameter
        drawn = torch.rand(1, *given.query.shape[1:3], 1, dtype=torch.float64)
        return torch.full_like(drawn, low) if low == high else low + (high - low) * drawn


KINDS = {
    # With a sink that takes nothing: a softmax of products alone has loops of its own.
    "softmax": Kind("softmax", lambda sink: qkv.Softmax(sink), (-torch.inf, -torch.inf)),
    "sink": Kind("softmax", lambda sink: qkv.Softmax(sink), (-2.0, 4.0)),
    "sigmoid": Kind("sigmoid", lambda bias: qkv.Sigmoid(bias), (-3.0, 1.0)),
    "identity": Kind("identity", lambda _: qkv.Identity()),
    "sparsemax": Kind("sparsemax", lambda _: qkv.Sparsemax()),
    "entmax15": Kind("entmax15", lambda _: qkv.Entmax15()),
    "entmax": Kind("entmax", lambda alpha: qkv.Entmax(alpha), (1.1, 1.9)),
    "top 1": Kind("topk", lambda _: qkv.TopK(1), top=1),
    "top 7": Kind("topk", lambda _: qkv.TopK(7), top=7),
    "top 60": Kind("topk", lambda _: qkv.TopK(60), top=60),
}


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def causal(queries: int, ahead: int = 0) -> Tensor:
    """Intervals: each query sees the keys up to its own place, and so many more."""
    stop = torch.arange(queries) + 1 + ahead
    return torch.stack([torch.zeros_like(stop), stop], -1).reshape(1, 1, 1, queries, 1, 2)


def apart(heads: int, group: int, queries: int, keys: int) -> Tensor:
    """Intervals of which those of each query head are elsewhere, and leave some keys unseen."""
    begin = torch.arange(queries).expand(heads, group, queries)
    begin = begin + 31 * torch.arange(heads * group).reshape(heads, group, 1)
    begin = begin % (keys - 10)
    return torch.stack([begin, begin + 9], -1).unsqueeze(-2).unsqueeze(0)


@dataclass(frozen=True)
class Dropped:
    """Dropout of some probability."""

    probability: float
    seed: int

    def for_kernels(self, given: Case) -> Dropout:
        seed = torch.tensor(self.seed)
        threshold = _dropout.Dropout(self.probability, seed).threshold
        return Dropout(self.states(given), threshold, 1 / (1 - self.probability))

    def states(self, given: Case) -> Tensor:
        batch, heads, group, queries = given.query.shape[:4]
        indices = (batch, heads * group, queries)
        batch_index, head, row = torch.meshgrid(*map(torch.arange, indices), indexing="ij")
        states = _dropout.row_states(torch.tensor(self.seed), batch_index, head, row)
        return states.unflatten(1, (heads, group))


def by_strips(
    given: Case, kind: Kind, parameter: Tensor | None, dropped: Dropped | None = None
) -> dict[str, Tensor]:
    """The output, the logsumexp of a softmax, and the gradient of each input. A softmax of its own
    has a loop of its own."""
    stages = Stages(
        intervals=given.intervals,
        normalizer=kind.name,
        parameter=parameter,
        top=kind.top,
        dropout=None if dropped is None else dropped.for_kernels(given),
    )
    results, gradients = forward_and_backward(given, stages)
    found = {"output": results.output, "logsumexp": results.logsumexp, **vars(gradients)}
    return {name: found[name] for name in found if isinstance(found[name], Tensor)}


def defined(
    given: Case,
    kind: Kind,
    parameter: Tensor | None,
    dropped: Dropped | None = None,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    """The same by qkv's reference implementation, in a dtype."""
    given = given.to(dtype)
    lead = given.query.shape[:4]
    inputs = {name: getattr(given, name).clone() for name in ("query", "key", "value")}
    if parameter is not None:
        inputs["parameter"] = parameter.clone()
    for tensor in inputs.values():
        tensor.requires_grad_()
    query, key, value = (inputs[name].flatten(1, 2) for name in ("query", "key", "value"))
    seen = visible(given.intervals, key.shape[-2]).expand(*lead, key.shape[-2])
    matrix = qkv.attention(
        query,
        key,
        score=qkv.Dot(scale=given.scale),
        mask=qkv.Dense(seen.flatten(1, 2)),
        normalizer=kind.stage(inputs["parameter"].flatten() if parameter is not None else _NONE),
        impl="reference",
    )
    whole = matrix
    if dropped is not None:
        matrix = matrix.dropout(dropped.probability, dropped.seed)
    output = (matrix @ value).unflatten(1, lead[1:3])
    gradients = torch.autograd.grad(output, tuple(inputs.values()), given.output_gradient)
    found = {"output": output.detach()} | dict(zip(inputs, gradients, strict=True))
    if kind.name == "softmax":
        found["logsumexp"] = whole.logsumexp().unflatten(1, lead[1:3]).detach().double()
    return found


_NONE = torch.zeros(1)


def assert_as_defined(given: Case, kind: Kind, dropped: Dropped | None = None) -> None:
    """Holds the kernels to contract 4."""
    parameter = kind.draw(given)
    found = by_strips(given, kind, parameter, dropped)
    oracle = defined(given, kind, parameter, dropped)
    peer = defined(given, kind, parameter, dropped, given.query.dtype)
    assert found.keys() == oracle.keys()
    added = added_up(given, parameter, dropped) if kind.name == "entmax" else {}
    for name, expected in oracle.items():
        assert_within_contract(
            name,
            found[name],
            expected,
            peer[name],
            given.query.dtype,
            added=added.get(name, 0.0),
        )


def added_up(given: Case, alpha: Tensor, dropped: Dropped | None) -> dict[str, float]:
    """The largest sum of magnitudes that are added up in each gradient of entmax."""
    given = given.to(torch.float64)
    scores = given.scale * (given.query @ given.key.mT)
    seen = visible(given.intervals, scores.shape[-1]).expand(scores.shape)
    piece = alpha.unsqueeze(-1)
    weights, of_alpha = torch.func.jvp(
        lambda a: qkv.Entmax(2.0).normalize(scores, seen, a),  # alpha is the piece
        (piece,),
        (torch.ones_like(piece),),
    )
    rates = torch.where(weights > 0, weights ** (2 - piece), 0)
    gradients = given.output_gradient.abs() @ given.value.abs().mT
    gradients = gradients / (1 - (dropped.probability if dropped else 0))
    total = rates.sum(-1, keepdim=True)
    gradients = gradients + (rates * gradients).sum(-1, keepdim=True) / total.where(total > 0, 1)
    sums = {
        "query": abs(given.scale) * (rates * gradients) @ given.key.abs(),
        "key": abs(given.scale) * ((rates * gradients).mT @ given.query.abs()).sum(2),
        "parameter": (of_alpha.abs() * gradients).sum((0, -2, -1)),
    }
    return {name: tensor.max().item() for name, tensor in sums.items()}
