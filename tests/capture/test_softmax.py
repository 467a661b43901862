"""Models that take the softmax of their scores by hand, and softmaxes that are not attention."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from resident import own_bytes
from torch import nn
from torch.testing import assert_close

import qkv
from qkv.capture import keeping

X = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
SCORES = X @ X.mT
WAYS = {
    "F.softmax": lambda s: F.softmax(s, dim=-1),
    "torch.softmax": lambda s: torch.softmax(s, -1),
    "torch.special.softmax": lambda s: torch.special.softmax(s, 3),
    "Tensor.softmax": lambda s: s.softmax(dim=-1),
}


class ByHand(nn.Module):
    """The softmax of what it is given."""

    def __init__(self, way, heads: int | None = 4, **parts) -> None:
        super().__init__()
        self.way = way
        if heads is not None:
            self.num_heads = heads
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, scores):
        """Weights."""
        return self.way(scores)


class HandAttention(ByHand):
    """The same by another name."""


@pytest.mark.parametrize("name", WAYS)
def test_the_scores_are_kept(name) -> None:
    model = ByHand(WAYS[name])
    with qkv.observe(model) as capture:
        weights = model(SCORES)
    assert torch.equal(weights, SCORES.softmax(-1))
    (call,) = capture.calls
    assert call.materialised
    assert (call.function, call.kind) == (name, "self")
    assert call.residual is not None
    assert call.residual < 1e-6
    assert_close(call.matrix.dense(), weights)
    assert_close(call.matrix @ X, weights @ X)
    assert "materialised" in str(capture)
    assert "softmax" not in vars(torch.Tensor)


def test_heads_and_batch_in_one_dimension() -> None:
    model = ByHand(WAYS["F.softmax"])
    with qkv.observe(model, heads=[3]) as capture:
        weights = model(SCORES.flatten(0, 1))
    assert_close(capture.calls[0].matrix.dense(), weights.view(2, 4, 6, 6)[:, [3]])


class OwnSoftmax(nn.Module):
    """One that is no class of torch's."""

    def forward(self, scores):
        return torch.softmax(scores, -1)


@pytest.mark.parametrize("softmax", [nn.Softmax(-1), OwnSoftmax()])
@pytest.mark.parametrize("registered", [True, False])
def test_a_softmax_that_is_a_module_works_for_the_one_that_it_is_in(softmax, registered) -> None:
    part = ByHand(softmax) if registered else ByHand(lambda scores: softmax(scores))
    model = nn.Sequential(nn.Identity(), part)
    with qkv.observe(model, heads=[2]) as capture:
        weights = model(SCORES)
    (call,) = capture.calls
    assert call.module == "1"
    assert_close(call.matrix.dense(), weights[:, [2]])


class Projecting(nn.Module):
    """Named by nothing but its projections."""

    def __init__(self, queries: str, keys: str, scores: str = "bqd,bkd->bqk") -> None:
        super().__init__()
        self.names, self.scores = (queries, keys), scores
        for name in {queries, keys}:
            self.register_module(name, nn.Linear(8, 8))

    def forward(self, x):
        query, key = (self.get_submodule(name)(x) for name in self.names)
        return torch.einsum(self.scores, query, key).softmax(-1)


@pytest.mark.parametrize(
    "names", [("query", "key"), ("to_q", "to_k"), ("W_Query", "W_Key"), ("to_qkv",) * 2]
)
def test_projections_of_queries_and_keys_tell_that_it_is_attention(names) -> None:
    model = nn.Sequential(Projecting(*names))
    with qkv.observe(model) as capture:
        weights = model(X[0])
    (call,) = capture.calls
    assert call.shape == (4, 1, 6, 6)
    assert_close(call.matrix.dense()[:, 0], weights)
    assert call.residual is not None
    assert call.residual < 1e-6


@pytest.mark.parametrize("heads", [None, [0]])
def test_queries_by_keys_alone_are_one_head(heads: list[int] | None) -> None:
    model = Projecting("query", "key", "qd,kd->qk")
    with qkv.observe(model, heads=heads) as capture:
        weights = model(X[0, 0])
    assert_close(capture.calls[0].matrix.dense(), weights[None])
    assert len(qkv.heads(capture)) == 1
    with qkv.observe(model, heads=[1]) as capture:
        model(X[0, 0])
    assert [missed.reason for missed in capture.missed] == ["head 1 was asked for; it has 1"]


def test_attention_of_an_unknown_way_is_missed_where_its_projections_tell() -> None:
    class Over(Projecting):
        def forward(self, x):
            query, key = (self.get_submodule(name)(x) for name in self.names)
            return (query @ key.mT).exp().cumsum(-1)

    model = nn.Sequential(Over("query", "key"))
    with qkv.observe(model) as capture:
        model(X[0])
    assert [(missed.module, missed.function) for missed in capture.missed] == [("0", "forward")]


@pytest.mark.parametrize(
    ("model", "scores"),
    [
        (ByHand(lambda s: F.softmax(s, dim=1)), SCORES),
        (ByHand(lambda s: F.softmax(s, -1)), SCORES[0, 0]),
        (ByHand(lambda s: F.softmax(s, -1), heads=None), SCORES),
        (ByHand(lambda s: F.softmax(s, -1), heads=3), SCORES),
        (ByHand(lambda s: F.softmax(s, -1), heads=3), SCORES[0]),
    ],
)
def test_what_is_none_of_attention(model, scores) -> None:
    with qkv.observe(model) as capture:
        model(scores)
    assert not capture.calls
    assert not capture.missed


def test_what_attention_does_that_is_no_matrix_is_missed() -> None:
    model = HandAttention(WAYS["F.softmax"], heads=6)
    with qkv.observe(model) as capture:
        model(SCORES)
    assert not capture.calls
    (missed,) = capture.missed
    assert missed.reason == (
        "a softmax over [2, 4, 6, 6], which are not queries by keys of its 6 heads"
    )


@pytest.mark.parametrize(
    "total",
    [lambda s: torch.logsumexp(s, -1, keepdim=True), lambda s: s.logsumexp(dim=-1, keepdim=True)],
)
def test_a_softmax_made_of_exponentials_is_missed(total) -> None:
    model = ByHand(lambda s: (s - total(s)).exp())
    with qkv.observe(model) as capture:
        assert_close(model(SCORES), SCORES.softmax(-1))
    assert not capture.calls
    (missed,) = capture.missed
    assert "exponentials" in missed.reason
    assert "logsumexp" not in vars(torch.Tensor)


@pytest.mark.parametrize(
    "sums", [lambda s: torch.logsumexp(s, -1), lambda s: s.logsumexp(1, keepdim=True)]
)
def test_sums_of_which_no_weights_are_made(sums) -> None:
    model = ByHand(sums)
    with qkv.observe(model) as capture:
        model(SCORES)
    assert not capture.missed


def test_scores_that_are_too_many_are_missed(monkeypatch) -> None:
    monkeypatch.setattr(keeping, "MOST", SCORES.numel() * 4 - 1)
    model = ByHand(WAYS["F.softmax"])
    with qkv.observe(model) as capture:
        model(SCORES)
    assert not capture.calls
    assert "its scores take" in capture.missed[0].reason
    assert "spill= keeps them on the disk" in capture.missed[0].reason


def test_fewer_or_smaller_scores_or_some_on_the_disk_are_kept(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(keeping, "MOST", SCORES.numel() * 2)
    model = ByHand(WAYS["F.softmax"])
    for options in ({"heads": [1, 3]}, {"spill": tmp_path}, {"keep": torch.float16}):
        with qkv.observe(model, **options) as capture:
            model(SCORES)
        (call,) = capture.calls
        small = options.get("keep", torch.float32)
        assert call.matrix.dtype is small
        assert call.matrix.bias[0].values.dtype is small
        right = SCORES.softmax(-1)[:, options.get("heads", slice(None))]
        apart = 1e-6 if small is torch.float32 else 0.005
        assert_close(call.matrix.dense().float(), right, rtol=0, atol=apart)
        assert call.residual < apart


def test_each_sees_scores_of_any_size(monkeypatch) -> None:
    monkeypatch.setattr(keeping, "MOST", 0)
    model = ByHand(WAYS["F.softmax"])
    with qkv.observe(model, each=lambda matrix: matrix.dense()) as capture:
        model(SCORES)
    (answer,) = capture.answers
    assert_close(answer.value, SCORES.softmax(-1))


def test_scores_on_the_disk_take_no_memory(tmp_path) -> None:
    model = ByHand(WAYS["F.softmax"])
    large = torch.randn(1, 4, 1024, 1024)
    with qkv.observe(model, spill=tmp_path) as capture:
        for _ in range(8):  # after them the allocator holds what it will hold of the calls' own
            model(large)
        before = own_bytes()
        for _ in range(20):
            model(large)
        grown = own_bytes() - before
    assert len(capture.calls) == 28
    assert grown < 80 * 2**20  # the scores of twenty are 320 MiB
    assert_close(capture.calls[7].matrix.dense(), large.softmax(-1))
