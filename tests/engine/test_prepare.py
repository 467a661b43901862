"""Keys prepared once give what keys give, with all gradients."""

from __future__ import annotations

import pytest
import torch

import qkv
from qkv.scores import SCORES
from qkv.scores.bilinear import Bilinear
from qkv.scores.cosine import Cosine
from qkv.testing import assert_close
from qkv.testing.examples import Sizes, drawing, examples

SIZES = Sizes((2,), 4, 2, 3, 5, 4, 2)


def tensors() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 4, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3)]
    made = [torch.randn(*s, generator=generator, dtype=torch.float64) for s in shapes]
    return [tensor.requires_grad_() for tensor in made]


@pytest.mark.parametrize("kind", SCORES)
def test_a_prepared_key_gives_what_the_key_gives(kind) -> None:
    for score in examples(kind, SIZES, drawing(1)):
        query, key, value = tensors()
        options = {"mask": qkv.Causal(), "query_offset": "end"}
        right = qkv.attend(query, key, value, score=score, **options)
        found = qkv.attend(query, qkv.prepare(key, score), value, **options)
        assert_close(found, right)
        wanted = (query, key, value)
        pairs = zip(
            torch.autograd.grad(found.sin().sum(), wanted),
            torch.autograd.grad(right.sin().sum(), wanted),
            strict=True,
        )
        for one, other in pairs:
            assert_close(one, other)


def test_a_parameter_gets_its_gradient_through_prepared_keys() -> None:
    query, key, value = (tensor.detach() for tensor in tensors())
    weight = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    score = qkv.Bilinear(weight, scale=0.5)
    prepared = qkv.prepare(key, score)
    found = sum(qkv.attend(query * step, prepared, value).sin().sum() for step in (1, 2))
    right = sum(qkv.attend(query * step, key, value, score=score).sin().sum() for step in (1, 2))
    assert_close(torch.autograd.grad(found, weight)[0], torch.autograd.grad(right, weight)[0])


def test_what_needs_no_query_is_done_once() -> None:
    """Keys are changed by the scores that have something to do with them, and only by these."""
    for kind in SCORES:
        key = tensors()[1]
        prepared = qkv.prepare(key, examples(kind, SIZES, drawing(1))[0])
        assert (prepared.ready is key) == (kind not in (Bilinear, Cosine)), kind


@pytest.mark.parametrize("score", [qkv.Cosine(3.0), qkv.Bilinear(torch.eye(4).double())])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_broken_key_that_nobody_sees_harms_nothing(score, poison) -> None:
    results = []
    for entry in (0.0, poison):
        query, key, value = tensors()
        with torch.no_grad():
            key[..., 2, 0] = entry
        mask = qkv.Dense(torch.arange(5) != 2)
        output = qkv.attend(query, qkv.prepare(key, score), value, mask=mask)
        gradients = torch.autograd.grad(output.sin().sum(), (query, key, value))
        assert not gradients[1][..., 2, :].any()
        results.append((output, *gradients))
    for one, other in zip(*results, strict=True):
        assert_close(one, other)
