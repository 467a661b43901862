from dataclasses import replace

import pytest
from fake_study import runs
from torch import nn

from qkv.lab.encoders import MODELS, makers
from qkv.lab.fair import CLOSE, check, matched, parameters


def test_parameters_are_counted_outside_of_embeddings():
    model = nn.Sequential(nn.Embedding(1000, 3), nn.Linear(3, 2))
    assert parameters(model) == 3 * 2 + 2


def test_sizes_are_solved_for():
    found = matched(makers(32, layers=1, heads=2), range(16, 260, 2), 30_000)
    assert set(found) == set(MODELS)
    counts = [count for _, count in found.values()]
    assert max(counts) <= (1 + CLOSE) * min(counts)
    assert all(abs(count - 30_000) <= 7_500 for count in counts)
    for model, (width, count) in found.items():
        assert parameters(makers(32, layers=1, heads=2)[model](width)) == count


def test_sizes_that_are_not_there_are_an_error():
    with pytest.raises(ValueError, match=r"no widths give RNN, .* about 30,000"):
        matched(makers(32, layers=1, heads=2), [16, 18], 30_000)


def changed(which, **values):
    return [replace(run, **values) if which(run) else run for run in runs(False)]


@pytest.mark.parametrize(
    ("unfair", "told"),
    [
        (changed(lambda r: r.model == "good", parameters=1051), "parameters are from 1,000 to"),
        (changed(lambda r: r.model == "good", budget={"steps": 99}), "different budgets"),
        (changed(lambda r: (r.model, r.rate) == ("good", 0.1), rate=0.2), "different learning"),
        ([r for r in runs(False) if (r.model, r.seed) != ("good", 2)], "different seeds"),
        ([r for r in runs(False) if r.seed < 2], "there are 2 seeds, fewer than 3"),
        (changed(lambda r: r.seed == 2, seed=1), "two runs are called alike"),
    ],
)
def test_what_is_not_fair_is_not_run(unfair, told):
    with pytest.raises(ValueError, match=f"^fake: .*{told}"):
        check("fake", unfair)


def test_what_is_fair_passes():
    check("fake", runs(False))
    check("fake", runs(True), quick=True)
    check("fake", changed(lambda r: r.model == "good", parameters=1050))
