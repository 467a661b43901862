"""What is asked of FlexAttention: mods as its users write them, and the dense formula of a mod."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import _vmap_for_bhqkv, and_masks, or_masks

from qkv.integrations.flex.mods import Indexing

BATCH, HEADS, QUERIES, KEYS = 2, 4, 11, 13
TABLES = {
    "slopes": (HEADS,),
    "relative": (HEADS, QUERIES + KEYS),
    "pairs": (HEADS, QUERIES, KEYS),
    "per_key": (BATCH, KEYS),
    "per_query": (QUERIES,),
    "places": (KEYS, 3),
    "cap": (),
}
DOCUMENTS = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3])
EACH_DOCUMENTS = torch.stack([DOCUMENTS, DOCUMENTS.flip(0)])
LENGTHS = torch.tensor([5, 12])
OFFSETS = torch.tensor([0, 3, 7, 9, 13])
VALID = torch.tensor([[1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1], [0] * 2 + [1] * 11]).bool()
SEEN = torch.rand(HEADS, QUERIES, KEYS, generator=torch.Generator().manual_seed(5)) < 0.5


class Tables(dict):
    """Captured tensors by name, as attributes too."""

    def __getattr__(self, name: str) -> Tensor:
        return self[name]


def tables(dtype: torch.dtype = torch.float64, gradients: bool = True) -> Tables:
    """What mods capture, each with its gradient."""
    made = torch.Generator().manual_seed(1)
    return Tables(
        (name, torch.randn(shape, generator=made, dtype=dtype).requires_grad_(gradients))
        for name, shape in TABLES.items()
    )


def score_mods(t: Tables) -> dict[str, Callable[..., Tensor]]:
    """Score mods by name, over captured tables."""

    def document_alibi(s, b, h, q, k):
        return torch.where(DOCUMENTS[q] == DOCUMENTS[k], s + t.slopes[h] * (k - q), -torch.inf)

    def module_of_places(s, b, h, q, k):
        return s + (t.places[q] * t.places[k]).sum(-1)

    def two_documents_causal(s, b, h, q, k):
        inside = (EACH_DOCUMENTS[b, q] == EACH_DOCUMENTS[b, k]) & (q >= k)
        return torch.where(inside, s, float("-inf"))

    return {
        "identity": lambda s, b, h, q, k: s,
        "causal": lambda s, b, h, q, k: torch.where(q >= k, s, float("-inf")),
        "inverse causal": lambda s, b, h, q, k: torch.where(q <= k, s, float("-inf")),
        "masked_fill": lambda s, b, h, q, k: s.masked_fill(q < k, float("-inf")),
        "lowest": lambda s, b, h, q, k: torch.where(q >= k, s, -1e4),
        "times two": lambda s, b, h, q, k: s * 2,
        "squared": lambda s, b, h, q, k: s * s,
        "head offset": lambda s, b, h, q, k: s * h,
        "trigonometry": lambda s, b, h, q, k: torch.sin(torch.cos(s)),
        "relative": lambda s, b, h, q, k: s + (q - k),
        "relative by head": lambda s, b, h, q, k: s + (q - k) * (h + 1) / 8,
        "relative causal": lambda s, b, h, q, k: torch.where(q <= k, s + (q - k), -torch.inf),
        "alternating": lambda s, b, h, q, k: torch.where(k % 2 == 0, s, float("-inf")),
        "alibi": lambda s, b, h, q, k: s + t.slopes[h] * (k - q),
        "alibi of both sides": lambda s, b, h, q, k: s - torch.abs(q - k) * t.slopes[h].exp(),
        "alibi in floats": lambda s, b, h, q, k: s + t.slopes[h] * (k.float() - q.float()),
        "relative table": lambda s, b, h, q, k: s + t.relative[h, q - k + KEYS],
        "chained lookups": lambda s, b, h, q, k: s + t.relative[h][q - k + KEYS],
        "clipped table": lambda s, b, h, q, k: s + t.relative[h, (q - k).clamp(-3, 3) + 3],
        "pairs": lambda s, b, h, q, k: s + t.pairs[h, q, k],
        "pairs of one head": lambda s, b, h, q, k: s + t.pairs[0, q, k],
        "per key": lambda s, b, h, q, k: s + t.per_key[b, k],
        "per key and query": lambda s, b, h, q, k: s + (t.per_key[b, k] - t.per_query[q]),
        "product of both": lambda s, b, h, q, k: s + t.per_key[b, k] * t.per_query[q],
        "softcap": lambda s, b, h, q, k: 2.0 * torch.tanh(s / 2.0),
        "softcap by a half": lambda s, b, h, q, k: torch.tanh(s * 0.5) * 2,
        "learnt softcap": lambda s, b, h, q, k: t.cap * torch.tanh(s / t.cap),
        "scaled, capped, biased": lambda s, b, h, q, k: (
            torch.tanh(s * 3 / 2.0) * 2.0 + t.slopes[h] * (k - q)
        ),
        "capped causal": lambda s, b, h, q, k: torch.where(
            q >= k, 2 * torch.tanh(s / 2), -torch.inf
        ),
        "cap of what is masked": lambda s, b, h, q, k: (
            2 * torch.tanh(torch.where(q >= k, s, -torch.inf) / 2)
        ),
        "bias of what is masked": lambda s, b, h, q, k: (
            torch.where(q >= k, s, -torch.inf) + t.slopes[h]
        ),
        "documents": lambda s, b, h, q, k: torch.where(DOCUMENTS[q] == DOCUMENTS[k], s, -torch.inf),
        "documents, causal": two_documents_causal,
        "documents, alibi": document_alibi,
        "learnt places": module_of_places,
        "detached": lambda s, b, h, q, k: s + t.slopes.detach()[h] * t.slopes[h],
        "detached scores": lambda s, b, h, q, k: s.detach() + t.slopes[h],
        "a table of all": lambda s, b, h, q, k: s + t.slopes.softmax(0)[h],
        "a number more": lambda s, b, h, q, k: torch.add(s, t.slopes[h], alpha=2),
        "taken from": lambda s, b, h, q, k: t.slopes[h] - s,
        "hidden for some heads": lambda s, b, h, q, k: torch.where(
            (h < 2) | (q >= k), s, float("-inf")
        ),
    }


def mask_mods() -> dict[str, Callable[..., Tensor]]:
    """Mask mods by name."""

    def causal(b, h, q, k):
        return q >= k

    def sliding(b, h, q, k):
        return q - k <= 3

    def prefix(b, h, q, k):
        return k < 4

    return {
        "causal": causal,
        "strictly causal": lambda b, h, q, k: q > k,
        "causal from the end": lambda b, h, q, k: q + (KEYS - QUERIES) >= k,
        "future": lambda b, h, q, k: k >= q + 2,
        "sliding": lambda b, h, q, k: (q >= k) & (q - k <= 3),
        "both sides": lambda b, h, q, k: (q - k).abs() < 3,
        "far": lambda b, h, q, k: torch.abs(q - k) >= 3,
        "diagonal": lambda b, h, q, k: q == k,
        "off the diagonal": lambda b, h, q, k: k != q,
        "prefix": lambda b, h, q, k: (k < 4) | (q >= k),
        "prefix of torch": or_masks(prefix, causal),
        "window of torch": and_masks(causal, sliding),
        "lengths": lambda b, h, q, k: k < LENGTHS[b],
        "prefix lengths": lambda b, h, q, k: (k < LENGTHS[b]) | (k <= q),
        "documents": lambda b, h, q, k: DOCUMENTS[q] == DOCUMENTS[k],
        "documents, causal": lambda b, h, q, k: (
            (EACH_DOCUMENTS[b, q] == EACH_DOCUMENTS[b, k]) & (q >= k)
        ),
        "documents, chained": lambda b, h, q, k: EACH_DOCUMENTS[b][q] == EACH_DOCUMENTS[b][k],
        "documents by offsets": lambda b, h, q, k: (
            (k >= OFFSETS[DOCUMENTS[q]]) & (k < OFFSETS[DOCUMENTS[q] + 1])
        ),
        "unlike documents": lambda b, h, q, k: DOCUMENTS[q] == EACH_DOCUMENTS[1, k],
        "chunks": lambda b, h, q, k: (q // 4 == k // 4) & (q >= k),
        "chunks and the one before": lambda b, h, q, k: (q // 4 - k // 4 <= 1) & (q >= k),
        "chunks by division": lambda b, h, q, k: torch.div(k, 4, rounding_mode="floor") == q // 4,
        "padding": lambda b, h, q, k: VALID[b, k] & (q >= k),
        "queries too": lambda b, h, q, k: VALID[b, q] & VALID[b, k],
        "strided": lambda b, h, q, k: (q - k) % 3 == 0,
        "dilated window": lambda b, h, q, k: ((q - k) % 2 == 0) & ((q - k).abs() <= 6),
        "any pairs": lambda b, h, q, k: SEEN[h, q, k],
        "some heads": lambda b, h, q, k: torch.where(h < 2, q >= k, q - k < 3),
        "by head": lambda b, h, q, k: k <= q + h - 1,
        "by batch and head": lambda b, h, q, k: (k + b <= q + h) & ~(h == 3),
        "nothing": lambda b, h, q, k: k < 0,
        "everything": lambda b, h, q, k: k >= 0,
        "rows that see nothing": lambda b, h, q, k: (q >= k) & (q >= 4),
        "not": lambda b, h, q, k: ~(q >= k),
        "logical": lambda b, h, q, k: torch.logical_or(torch.logical_not(q >= k), k < 2),
        "either": lambda b, h, q, k: (q >= k) ^ (k < 4),
        "squares": lambda b, h, q, k: k * k <= q * q,
        "twice": lambda b, h, q, k: 2 * k <= q,
        "in floats": lambda b, h, q, k: k <= q / 2,
        "small integers": lambda b, h, q, k: q.to(torch.int8) >= k.to(torch.int8),
        "wrapped": lambda b, h, q, k: k - q <= 2**63 - 1,
        "looked up": lambda b, h, q, k: LENGTHS[(q >= k).long()] == 12,
    }


class Vectors(NamedTuple):
    """Query, key and value."""

    query: Tensor
    key: Tensor
    value: Tensor


def vectors(
    dtype: torch.dtype = torch.float64,
    *,
    key_heads: int = HEADS,
    queries: int = QUERIES,
    keys: int = KEYS,
    batch: int = BATCH,
    gradients: bool = True,
) -> Vectors:
    made = torch.Generator().manual_seed(2)
    sizes = (
        (batch, HEADS, queries, 8),
        (batch, key_heads, keys, 8),
        (batch, key_heads, keys, 5),
    )
    return Vectors(
        *(
            torch.randn(size, generator=made, dtype=torch.float64)
            .to(dtype)
            .requires_grad_(gradients)
            for size in sizes
        )
    )


class Dense(NamedTuple):
    """What FlexAttention gives, by the dense formula."""

    output: Tensor
    lse: Tensor
    max_scores: Tensor


def dense(
    v: Vectors,
    score_mod: Callable[..., Tensor] | None = None,
    mask_mod: Callable[..., Tensor] | None = None,
    listed: Tensor | None = None,
    scale: float | None = None,
) -> Dense:
    """The formula that torch's own eager FlexAttention computes, with its way to map a mod, in the
    dtype of the vectors; `listed` is what blocks show. Lookups are ours: torch's have no gradient
    of rows, and none under `torch.func`."""
    query, key, value = v
    group = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(group, 1) for part in (key, value))
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    places = [torch.arange(size) for size in scores.shape]
    visible = torch.ones_like(scores, dtype=torch.bool)
    with Indexing():
        if score_mod is not None:
            scores = _vmap_for_bhqkv(score_mod, prefix=(0,))(scores, *places)
        if mask_mod is not None:
            visible = _vmap_for_bhqkv(mask_mod, prefix=())(*places)
    if listed is not None:
        visible = visible & listed
    visible = visible & (scores.detach() != -torch.inf)
    some = visible.any(-1)
    shown = torch.where(visible, scores, -torch.inf)
    lse = torch.where(some, torch.where(some[..., None], shown, 0).logsumexp(-1), -torch.inf)
    weights = torch.where(visible, (scores - torch.where(some, lse, 0)[..., None]).exp(), 0)
    return Dense(weights @ value, lse, shown.amax(-1))


def gradients(outcome: Any, wanted: list[Tensor]) -> list[Tensor]:
    """Those of a fixed sum of a result, 0 where a tensor has no part in it."""
    made = torch.Generator().manual_seed(3)
    seed = torch.randn(outcome.shape, generator=made, dtype=torch.float64).to(outcome.dtype)
    seed = torch.where(torch.isfinite(outcome.detach()), seed, 0)
    outcome = torch.where(torch.isfinite(outcome), outcome, 0)
    found = torch.autograd.grad(
        (outcome * seed).sum(), wanted, allow_unused=True, retain_graph=True
    )
    pairs = zip(found, wanted, strict=True)
    return [torch.zeros_like(own) if grad is None else grad for grad, own in pairs]
