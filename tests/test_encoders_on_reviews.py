"""`benchmarks/encoders_on_reviews.py`: contenders that compute the same are found to, or not."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
benchmark = pytest.importorskip("encoders_on_reviews", reason="the source distribution has none")


@pytest.fixture
def contenders(one_thread):
    models = benchmark.models(8, 12, 2, 2)
    batch = benchmark.drawn([3, 9, 5, 1], 3, 8, 12, 0)
    made = {name: benchmark.passed(name, model, batch) for name, model in models.items()}
    return models, batch, made


def test_all_give_the_rows_that_are_no_padding(contenders):
    _, batch, made = contenders
    benchmark.check(made)
    for run in made.values():
        assert [len(part) for part in run()] == [int(batch.lengths.sum())] * 2


@pytest.mark.parametrize("name", ["recurrent", "hybrid", "self-attention, packed"])
def test_another_weight_is_seen(contenders, name):
    models, _, made = contenders
    with torch.no_grad():
        next(models[name].parameters()).add_(0.1)
    with pytest.raises(AssertionError):
        benchmark.check(made)


def test_a_row_has_the_ratio():
    seconds = dict.fromkeys((name for pair in benchmark.PAIRS for name in pair), 1.0)
    seconds[benchmark.LSTM] = 3.5
    rows = benchmark.table(seconds).splitlines()
    assert rows[2] == "| recurrent | 1.000 | nn.LSTM, packed | 3.500 | 3.50 |"
    assert rows[-1].endswith("| 1.00 |")
