"""The strip kernels on a case, and what they must give: the definitions of qkv's own stages in
float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from dense import Case, assert_within_contract, visible
from torch import Tensor

import qkv
from qkv.native.strip import Stages, strip_forward


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
        return low + (high - low) * torch.rand(1, *given.query.shape[1:3], dtype=torch.float64)


KINDS = {
    "softmax": Kind("softmax", lambda _: qkv.Softmax()),
    "sink": Kind("softmax", lambda sink: qkv.Softmax(sink), (-2.0, 4.0)),
    "sigmoid": Kind("sigmoid", lambda bias: qkv.Sigmoid(bias), (-3.0, 1.0)),
    "identity": Kind("identity", lambda _: qkv.Identity()),
    "sparsemax": Kind("sparsemax", lambda _: qkv.Sparsemax()),
    "entmax15": Kind("entmax15", lambda _: qkv.Entmax15()),
    "entmax": Kind("entmax", lambda alpha: qkv.Entmax(alpha), (1.1, 1.9)),
    "entmax above 2": Kind("entmax", lambda alpha: qkv.Entmax(alpha), (2.0, 2.5)),
    "top 1": Kind("topk", lambda _: qkv.TopK(1), top=1),
    "top 7": Kind("topk", lambda _: qkv.TopK(7), top=7),
    "top 60": Kind("topk", lambda _: qkv.TopK(60), top=60),
}


def by_strips(given: Case, kind: Kind, parameter: Tensor | None) -> dict[str, Tensor]:
    stages = Stages(
        intervals=given.intervals, normalizer=kind.name, parameter=parameter, top=kind.top
    )
    output, logsumexp = strip_forward(given.query, given.key, given.value, given.scale, stages)
    return {"output": output} | ({} if logsumexp is None else {"logsumexp": logsumexp})


def defined(
    given: Case, kind: Kind, parameter: Tensor | None, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """The same by qkv's reference implementation, in a dtype."""
    given = given.to(dtype)
    lead = given.query.shape[:4]
    query, key, value = (tensor.flatten(1, 2) for tensor in (given.query, given.key, given.value))
    seen = visible(given.intervals, key.shape[-2])
    seen = seen.expand(*lead, key.shape[-2]) if seen.ndim == 5 else seen
    matrix = qkv.attention(
        query,
        key,
        score=qkv.Dot(scale=given.scale),
        mask=qkv.Dense(seen.flatten(1, 2) if seen.ndim == 5 else seen),
        normalizer=kind.stage(torch.zeros(1) if parameter is None else parameter.flatten()),
        impl="reference",
    )
    found = {"output": (matrix @ value).unflatten(1, lead[1:3])}
    if kind.name == "softmax":
        found["logsumexp"] = matrix.logsumexp().unflatten(1, lead[1:3]).double()
    return found


def assert_as_defined(given: Case, kind: Kind) -> None:
    """Holds the kernels to contract 4."""
    parameter = kind.draw(given)
    found = by_strips(given, kind, parameter)
    oracle = defined(given, kind, parameter)
    peer = defined(given, kind, parameter, given.query.dtype)
    assert found.keys() == oracle.keys()
    for name, expected in oracle.items():
        assert_within_contract(name, found[name], expected, peer[name], given.query.dtype)
