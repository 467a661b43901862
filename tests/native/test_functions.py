"""The elementary functions of the kernels, each as near the truth as docs/functions.md says."""

from __future__ import annotations

import functions
import pytest
import torch
from functions import FUNCTIONS, apply, largest_error

from qkv.native import compiled

pytestmark = pytest.mark.usefixtures("instruction_set")

types = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
NAN, INF = torch.nan, torch.inf


def test_all_are_documented() -> None:
    assert compiled.kernels().functions() == list(FUNCTIONS)
    assert {name for name, _, _ in functions.documented()} == set(FUNCTIONS)


@types
@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors(name: str, dtype: torch.dtype, instruction_set: str) -> None:
    """A set that was not there when the table was made is held to the others' largest error."""
    known = {isa: e for (n, t, isa), e in functions.documented().items() if (n, t) == (name, dtype)}
    allowed = known.get(instruction_set, max(known.values()))
    assert largest_error(name, dtype, every=functions.TESTED) <= allowed


@types
@pytest.mark.parametrize("name", FUNCTIONS)
def test_whole_vectors_and_what_is_left(name: str, dtype: torch.dtype) -> None:
    x = functions.points(name, dtype, every=functions.TESTED)[:37]
    one_by_one = torch.cat([apply(name, number.reshape(1)) for number in x])
    assert torch.equal(apply(name, x), one_by_one)


@types
def test_edges(dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    lowest = {torch.float32: -126.0, torch.float64: -1022.0}[dtype]
    below = torch.nextafter(torch.tensor(lowest, dtype=dtype), torch.tensor(-INF, dtype=dtype))
    tiniest = info.smallest_normal * info.eps
    edges = {
        "exp2": [
            (0.0, 1.0),
            (-0.0, 1.0),
            (lowest, info.smallest_normal),
            (below.item(), 0.0),  # as wherever the result would be subnormal
            (-info.max, 0.0),
            (-INF, 0.0),
            (NAN, NAN),
        ],
        "exp2_minus_one": [(0.0, 0.0), (-1.0, -0.5), (NAN, NAN)],
        "power_of_twice": [(0.0, 1.0), (-0.0, 1.0)],
        "share": [(0.0, 0.5), (-INF, 1.0), (-info.max, 1.0), (NAN, NAN)],
        "log2": [(1.0, 0.0), (2.0, 1.0), (info.smallest_normal, lowest)],
        "log2_of_1_and": [(0.0, 0.0), (-0.5, -1.0), (NAN, NAN)],
        "tanh": [
            (0.0, 0.0),
            (-0.0, -0.0),
            (tiniest, tiniest),
            (-tiniest, -tiniest),
            (info.max, 1.0),
            (INF, 1.0),
            (-INF, -1.0),
            (NAN, NAN),
        ],
        "tanh_slope": [(0.0, 1.0), (-0.0, 1.0), (tiniest, 1.0), (NAN, NAN)],
    }
    for name, pairs in edges.items():
        x, expected = torch.tensor(pairs, dtype=dtype).unbind(-1)
        found = apply(name, x.contiguous())
        close = {"rtol": 0.0, "atol": 0.0, "equal_nan": True}
        torch.testing.assert_close(found, expected, msg=f"{name}: {found}", **close)
        signs = found.signbit() == expected.signbit()
        assert signs[~x.isnan()].all(), f"{name}: {found}"
    far = apply("share", torch.tensor([INF, info.max], dtype=dtype))
    slope = apply("tanh_slope", torch.tensor([INF, -INF, info.max], dtype=dtype))
    assert far.max() < info.eps
    assert slope.max() < info.eps
    assert apply("log2", torch.tensor([0.0], dtype=dtype)).isfinite().all()
