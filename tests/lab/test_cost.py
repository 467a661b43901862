"""The study of cost: what its child measures, and what follows from made times."""

import pytest
import torch

from qkv.lab.apart import apart, peak_memory
from qkv.lab.dense import densely
from qkv.lab.studies.cost import DENSE, LENGTHS, MODELS, measured, outcome, runs
from qkv.lab.study import Results
from qkv.lab.verdicts import FAILS, HOLDS
from qkv.nn import SelfAttentionEncoder


def test_dense_attention_is_the_same_attention():
    encoder = SelfAttentionEncoder(8, 12, 2, 2)
    x = torch.randn(2, 7, 8)
    expected = encoder(x)
    torch.testing.assert_close(densely(encoder)(x), expected)


@pytest.mark.parametrize("model", [MODELS[0], DENSE])
def test_a_run_has_times_and_the_planned_parameters(model, monkeypatch, one_thread):
    monkeypatch.setattr("qkv.lab.studies.cost._SECONDS", 0.01)
    run = next(run for run in runs(False) if run.model == model)
    record = measured(run.model, run.sizes["width"], 16, 1, 0)
    assert record["parameters"] == run.parameters
    assert record["step"] > record["infer"] > 0


def test_what_does_not_fit_into_memory_is_left_out(monkeypatch, one_thread):
    monkeypatch.setattr("qkv.lab.studies.cost.free_memory", lambda: 1000)
    assert "are more than the 1,000 free ones" in measured(DENSE, 64, 16, 1, 0)["left out"]


def test_a_process_of_its_own_answers_and_tells_its_errors():
    assert apart("qkv.lab.forecast:duration", seconds=5) == "5 s"
    with pytest.raises(RuntimeError, match=r"forecast:duration: .*unexpected keyword"):
        apart("qkv.lab.forecast:duration", second=5)


def test_memory_is_told_where_the_system_does():
    peak = peak_memory()
    assert peak is None or peak > 2**20


def made(step, lengths=LENGTHS):
    """Results of made times; the second thread halves those of self-attention alone."""
    planned = [run for run in runs(False) if run.budget["length"] in lengths]
    records = {}
    for run in planned:
        length, threads = run.budget["length"], run.budget["threads"]
        gain = threads if "attention" in run.model else 1
        seconds = step(run.model, length) * (1 + 0.01 * run.seed) / gain
        records[run.name] = {"step": seconds, "infer": seconds / 3, "memory": 1000 * length}
    return Results(planned, records, quick=False)


def quadratic(model, length):
    return 1e-6 * length**2 / 128 if "attention" in model else 1e-6 * length


def test_what_follows_from_times_that_are_known():
    found = outcome(made(quadratic))
    growth, slower, parallel = found.findings
    assert growth.verdict == FAILS
    assert growth.intervals[0].value == pytest.approx(2.0)
    assert slower.verdict == HOLDS
    assert "about 128 rows" in slower.found
    assert "2.00 times [" in slower.found
    assert parallel.verdict == HOLDS
    assert "1.00 times as fast with an LSTM and 2.00 times" in parallel.found
    exponents = {row[0]: row[1:] for row in found.tables[0].rows}
    assert exponents["LSTM"][0].startswith("1.00 [")
    assert exponents[DENSE][0].startswith("2.00 [")
    assert [plot.y for plot in found.plots] == ["seconds", "seconds", "MiB"]


def test_exponential_growth_would_be_seen():
    growth = outcome(made(lambda model, n: 1e-3 * 2 ** (n / 300)))
    assert growth.findings[0].verdict == HOLDS


def test_of_a_quick_look_there_may_be_no_growth_to_tell():
    found = outcome(made(quadratic, lengths=(64, 256)))
    assert len(found.findings) == 1
