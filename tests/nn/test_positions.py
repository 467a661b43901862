"""Positions: by their formulas, with an offset, and what they are for."""

from __future__ import annotations

import math
import re

import pytest
import torch

from qkv.nn import LearntPositions, Rotary, SinusoidalPositions
from qkv.testing import assert_close


def randn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_sinusoidal_positions_by_their_formula() -> None:
    added = SinusoidalPositions(6)(torch.zeros(2, 5, 6, dtype=torch.float64))
    for position in range(5):
        for pair in range(3):
            angle = position / 10000 ** (2 * pair / 6)
            assert added[0, position, 2 * pair].item() == pytest.approx(math.sin(angle))
            assert added[1, position, 2 * pair + 1].item() == pytest.approx(math.cos(angle))


def test_rotary_turns_pairs_by_their_angles() -> None:
    x = randn(2, 3, 5, 4)
    turned = Rotary(base=100.0)(x, 2)
    for pair, frequency in ((0, 1.0), (1, 0.1)):
        number = torch.complex(x[..., pair], x[..., pair + 2])
        angles = frequency * torch.arange(2, 7, dtype=torch.float64)
        right = number * torch.polar(torch.ones_like(angles), angles)
        assert_close(turned[..., pair], right.real)
        assert_close(turned[..., pair + 2], right.imag)


def test_after_rotary_inner_products_depend_on_the_distance_alone() -> None:
    query, key, rotary = randn(1, 4, 8), randn(1, 4, 8) + 1, Rotary()
    scores = rotary(query, 0) @ rotary(key, 0).mT
    moved = rotary(query, 11) @ rotary(key, 11).mT
    assert_close(scores, moved)
    assert not torch.allclose(scores, rotary(query, 1) @ rotary(key, 0).mT)


@pytest.mark.parametrize("shape", [(2, 5, 8), (2, 3, 5, 8), (2, 1, 3, 5, 8)], ids=str)
def test_each_entry_of_a_batch_is_turned_by_its_own_offset(shape) -> None:
    x, rotary = randn(*shape), Rotary()
    found = rotary(x, torch.tensor([4, -1]))
    assert_close(found, torch.cat([rotary(x[:1], 4), rotary(x[1:], -1)]))
    for same in (torch.tensor([4]), torch.tensor(4, dtype=torch.int32)):
        assert_close(rotary(x, same), rotary(x, 4))
    rows = x.flatten(0, -3)[0]
    assert_close(rotary(rows, torch.tensor([4])), rotary(rows, 4))


@pytest.mark.parametrize(
    "positions", [SinusoidalPositions(8), LearntPositions(8, 9).double(), Rotary()]
)
def test_an_offset_counts_on(positions) -> None:
    x = randn(2, 7, 8)
    whole = positions(x)
    assert_close(torch.cat([positions(x[:, :3]), positions(x[:, 3:], 3)], dim=1), whole)


def test_half_width_rows_are_not_turned_by_rounded_angles() -> None:
    """Position 3001 is no bfloat16: angles must be computed wider."""
    x = randn(1, 1, 8)
    right = Rotary()(x, 3001)
    half = Rotary()(x.to(torch.bfloat16), 3001)
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.double(), right, rtol=0.02, atol=0.02)


def test_learnt_positions_learn_and_have_an_end() -> None:
    positions = LearntPositions(8, 6)
    positions(torch.zeros(2, 4, 8), 1).sum().backward()
    gradient = positions.table.grad
    assert gradient is not None
    assert gradient.sum(1).tolist() == [0, 16, 16, 16, 16, 0]
    with pytest.raises(ValueError, match=r"less than longest \(6\); got a sequence up to posi.* 6"):
        positions(torch.zeros(2, 4, 8), 3)


def test_widths_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="SinusoidalPositions: width must be even; got 5"):
        SinusoidalPositions(5)
    with pytest.raises(ValueError, match="LearntPositions: longest must be an int >= 1; got 0"):
        LearntPositions(8, 0)


X = torch.zeros(2, 3, 8)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (
            lambda: SinusoidalPositions(8)(X[..., :6]),
            ValueError,
            "SinusoidalPositions: x must be [B..., L, 8]; got [2, 3, 6]",
        ),
        (
            lambda: SinusoidalPositions(8)(X[..., :1]),
            ValueError,
            "SinusoidalPositions: x must be [B..., L, 8]; got [2, 3, 1]",
        ),
        (
            lambda: SinusoidalPositions(8)(X, 1.5),
            TypeError,
            "SinusoidalPositions: offset must be an integer; got float",
        ),
        (
            lambda: LearntPositions(8, 4)(X[..., :7]),
            ValueError,
            "LearntPositions: x must be [B..., L, 8]; got [2, 3, 7]",
        ),
        (
            lambda: LearntPositions(8, 4)(X[..., :1]),
            ValueError,
            "LearntPositions: x must be [B..., L, 8]; got [2, 3, 1]",
        ),
        (
            lambda: LearntPositions(8, 4)(X, -1),
            ValueError,
            "LearntPositions: offset must be at least 0; got -1",
        ),
        (
            lambda: LearntPositions(8, 4)(X, "a"),
            TypeError,
            "LearntPositions: offset must be an integer; got str",
        ),
        (
            lambda: Rotary()(X[..., :5]),
            ValueError,
            "Rotary: x must be [B..., L, D] with an even D; got [2, 3, 5]",
        ),
        (
            lambda: Rotary()(X[0, 0]),
            ValueError,
            "Rotary: x must be [B..., L, D] with an even D; got [8]",
        ),
        (
            lambda: Rotary()(X.int()),
            TypeError,
            "Rotary: x must be a floating tensor; got torch.int32",
        ),
        (lambda: Rotary()(X, "a"), TypeError, "Rotary: offset must be an integer; got str"),
        (
            lambda: Rotary()(X, torch.tensor([1.0, 2.0])),
            TypeError,
            "Rotary: offset must hold integers; got torch.float32",
        ),
        (
            lambda: Rotary()(X[..., :4], torch.tensor([1, 2, 3])),
            ValueError,
            "Rotary: offset must hold one integer per entry of the first dimension (2); got [3]",
        ),
        (lambda: Rotary("a"), TypeError, "Rotary: base must be a number; got str"),
        (lambda: Rotary(0.0), ValueError, "Rotary: base must be positive; got 0.0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, kind, text) -> None:
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        call()
