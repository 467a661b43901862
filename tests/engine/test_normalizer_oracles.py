"""Every normalizer against a second algorithm: the reference implementation is made of the same
stages as the others, so an error in a stage would be an error of all of them."""

from __future__ import annotations

import math
from functools import cache

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf
from refusals import AVAILABLE
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import qkv
from qkv.testing import assert_close

ALPHAS = [1.0001, 1.01, 1.3, 1.5, 2.0, 2.5, 3.5, 5.0, 8.0, 12.0, 20.0, 50.0, 100.0]
DTYPES = [torch.float32, torch.float64]
mpmath.mp.dps = 60

# Scores of one row, without what is masked.
Row = list[float]


def halved(total, low, high) -> mpf:
    """Where a growing function is 1, by halving."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) < 1 else (low, middle)
    return low


def entmax(scores: Row, alpha: float | mpf) -> list[mpf]:
    """By halving, in 60 digits and with exponents of any size."""
    power, row = mpf(alpha) - 1, [mpf(score) for score in scores]
    if power <= 1:
        top = max(row)

        def weights(most: mpf) -> list[mpf]:
            return [max(mpf(0), most**power + power * (s - top)) ** (1 / power) for s in row]

        return weights(halved(lambda most: sum(weights(most)), mpf(0), mpf(1)))

    def of_last(last: mpf, least: mpf) -> list[mpf]:
        above = [power * (s - last) for s in row]
        return [mpf(0) if a < 0 else (least**power + a) ** (1 / power) for a in above]

    last = min(s for s in row if sum(of_last(s, mpf(0))) < 1)
    return of_last(last, halved(lambda least: sum(of_last(last, least)), mpf(0), mpf(1)))


def threshold(scores: Row, degree: int) -> list[mpf]:
    """Sparsemax (1) and entmax 1.5 (2) by halving for tau."""
    row = [mpf(score) / degree for score in scores]

    def weights(below: mpf) -> list[mpf]:
        return [max(mpf(0), s - max(row) + below) ** degree for s in row]

    return weights(halved(lambda below: sum(weights(below)), mpf(0), mpf(1)))


def softmax(scores: Row, sink: float = -math.inf) -> list[float]:
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    total = math.fsum([*powers, math.exp(sink - top) if sink > -math.inf else 0.0])
    return [power / total for power in powers]


def topk(scores: Row, k: int) -> list[float]:
    order = sorted(range(len(scores)), key=lambda j: (-scores[j], j))[:k]
    weights = dict(zip(order, softmax([scores[j] for j in order]), strict=True))
    return [weights.get(j, 0.0) for j in range(len(scores))]


def sigmoid(scores: Row, bias: float) -> list[mpf]:
    return [1 / (1 + mpmath.exp(-mpf(score) - bias)) for score in scores]


OTHERS = {
    "softmax": (qkv.Softmax(), softmax),
    "sink": (qkv.Softmax(sink=0.5), lambda row: softmax(row, 0.5)),
    "sparsemax": (qkv.Sparsemax(), lambda row: threshold(row, 1)),
    "entmax15": (qkv.Entmax15(), lambda row: threshold(row, 2)),
    "topk": (qkv.TopK(2), lambda row: topk(row, 2)),
    "sigmoid": (qkv.Sigmoid(-1.0), lambda row: sigmoid(row, -1.0)),
    "identity": (qkv.Identity(), lambda row: row),
}


def matrix_of(scores: Tensor, seen: Tensor, normalizer, impl: str) -> qkv.AttentionMatrix:
    """The matrix with exactly these scores."""
    options = {"score": qkv.Dot(1.0), "normalizer": normalizer, "mask": qkv.Dense(seen)}
    return qkv.attention(scores, torch.eye(scores.shape[-1]).to(scores), impl=impl, **options)


def implementations(alpha: float) -> list[str]:
    names = ["tiled", "reference", *(["native"] if alpha <= 2 else [])]
    return [name for name in names if name in AVAILABLE]


@st.composite
def rows(draw):
    """A few scores of any size, some alike, some masked, in float32 or float64."""
    keys = draw(st.integers(1, 6))
    spread = 10 ** draw(st.floats(-6, 4))
    numbers = st.sampled_from([-1.0, 0.0, 1.0]) | st.floats(-2, 2)
    scores = draw(st.lists(numbers, min_size=keys, max_size=keys))
    seen = draw(st.lists(st.booleans(), min_size=keys, max_size=keys))
    seen[draw(st.integers(0, keys - 1))] = True
    tensor = torch.tensor([scores], dtype=torch.float64) * spread
    return tensor.to(draw(st.sampled_from(DTYPES))), torch.tensor([seen])


def expected(scores: Tensor, seen: Tensor, by) -> Tensor:
    found = torch.zeros(scores.shape, dtype=torch.float64)
    places = seen[0].nonzero().flatten()
    row = by(scores[0, places].tolist())
    found[0, places] = torch.tensor([float(weight) for weight in row], dtype=torch.float64)
    return found


@settings(max_examples=80)
@given(rows(), st.floats(0.0001, 19).map(lambda power: 1 + power) | st.sampled_from(ALPHAS))
def test_entmax_is_found_by_halving_too(case, alpha: float) -> None:
    scores, seen = case
    right = expected(scores, seen, lambda row: entmax(row, alpha))
    for impl in implementations(alpha):
        for given_alpha in (alpha, torch.tensor([alpha], dtype=torch.float64)):
            weights = matrix_of(scores, seen, qkv.Entmax(given_alpha), impl).dense()
            assert_close(weights, right, what=f"{impl}, alpha {alpha}")
            assert_close(weights.double().sum(-1), torch.ones(1).double(), rounding=slack(weights))


@settings(max_examples=40)
@given(rows(), st.sampled_from(sorted(OTHERS)))
def test_the_others_are_found_by_another_algorithm_too(case, name: str) -> None:
    scores, seen = case
    normalizer, by = OTHERS[name]
    right = expected(scores, seen, by)
    # A score is as exact as its own size allows: exponentials are taken of rounded multiples.
    rounding = slack(scores) * (1 + scores.abs().max().item()) if name != "identity" else 0.0
    for impl in implementations(1):
        weights = matrix_of(scores, seen, normalizer, impl).dense()
        assert_close(weights, right, what=f"{impl}, {name}", rounding=rounding)


@pytest.mark.parametrize("impl", ["auto", "tiled", "reference"])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16], ids=str)
@pytest.mark.parametrize("alpha", [1e6, 3e38, 1e39, 10**300], ids="{:.0e}".format)
def test_an_alpha_of_any_size(alpha: float, dtype: torch.dtype, impl: str) -> None:
    """The largest scores share the weight, also where alpha is no number of the scores' type."""
    scores = torch.tensor([[1.0, 1.0, 1.0, 0.75]], dtype=dtype)
    for given_alpha in (alpha, torch.tensor([float(alpha)], dtype=torch.float64)):
        matrix = matrix_of(scores, torch.ones(1, 4).bool(), qkv.Entmax(given_alpha), impl)
        assert_close(matrix.dense(), torch.tensor([[1.0, 1.0, 1.0, 0.0]]).double() / 3)


@pytest.mark.parametrize("impl", ["native", "tiled", "reference"])
def test_what_is_hidden_stays_so_beside_an_infinite_bias(impl: str) -> None:
    bias, seen = torch.tensor([torch.inf]), torch.tensor([[True, False, True]])
    matrix = matrix_of(torch.tensor([[1.0, 2.0, -3.0]]), seen, qkv.Sigmoid(bias), impl)
    assert torch.equal(matrix @ torch.eye(3), torch.tensor([[1.0, 0.0, 1.0]]))


def slack(tensor: Tensor) -> float:
    return 4 * torch.finfo(tensor.dtype).eps


GAPS = [-0.23660671710968018, -0.1, -0.09, -0.02, 0.0, -0.9]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("gap", GAPS)
def test_entmax_gradients(gap: float, alpha: float, dtype: torch.dtype) -> None:
    """Against differences of weights in 60 digits, in all implementations."""
    row = torch.tensor([[0.0, gap, gap - 0.3]], dtype=dtype)
    alpha = torch.tensor([alpha], dtype=dtype)
    right_scores, right_alpha = by_differences(tuple(row[0].tolist()), alpha.item())
    value = torch.tensor([[1.0], [-2.0], [3.0]], dtype=dtype)
    for impl in implementations(alpha.item()):
        scores, own = row.clone().requires_grad_(), alpha.clone().requires_grad_()
        matrix = matrix_of(scores, torch.ones(1, 3).bool(), qkv.Entmax(own), impl)
        found = torch.autograd.grad((matrix @ value).sum(), (scores, own))
        # Weights that are all alike have derivatives of opposite sign and of this size.
        size = 3 * 3.0 ** (alpha.item() - 2) if gap == 0 else 1.0
        rounding = 16 * torch.finfo(dtype).eps * max(1.0, size)
        assert_close(found[0], right_scores, what=impl, rounding=6 * rounding)
        assert_close(found[1], right_alpha, what=impl, rounding=6 * rounding)


@cache
def by_differences(row: tuple[float, ...], alpha: float) -> tuple[Tensor, Tensor]:
    """The gradients of w_0 - 2 w_1 + 3 w_2."""
    step = mpf(10) ** -36

    def loss(scores: list[mpf], alpha: mpf) -> mpf:
        first, second, third = entmax(scores, alpha)
        return first - 2 * second + 3 * third

    start = [mpf(score) for score in row]
    of_scores = []
    for j in range(len(start)):
        sides = ([s + sign * step * (i == j) for i, s in enumerate(start)] for sign in (1, -1))
        up, down = (loss(side, mpf(alpha)) for side in sides)
        of_scores.append(float((up - down) / (2 * step)))
    rise = loss(start, alpha + step) - loss(start, alpha - step)
    doubles = {"dtype": torch.float64}
    return torch.tensor([of_scores], **doubles), torch.tensor([float(rise / (2 * step))], **doubles)


@pytest.mark.parametrize("alpha", [1.0001, 1.3, 2.5, 5.0, 12.0])
def test_entmax_has_two_derivatives(alpha: float) -> None:
    """In scores and alpha, against finite differences."""
    scores = torch.tensor([[0.0, -0.05, -0.3, -0.04]], dtype=torch.float64, requires_grad=True)
    power = torch.tensor([alpha], dtype=torch.float64, requires_grad=True)

    def weights(scores: Tensor, alpha: Tensor) -> Tensor:
        seen = torch.tensor([[True, True, True, False]])
        return matrix_of(scores, seen, qkv.Entmax(alpha), "reference").dense()

    step = {"eps": min(1e-6, (alpha - 1) / 100), "rtol": 1e-3}
    assert gradcheck(weights, (scores, power), **step)
    assert gradgradcheck(weights, (scores, power), **step)
