"""Who is wrong, absent, too large or broken is said so and not timed."""

import time
from dataclasses import replace

import pytest
import torch

from qkv.bench import runner
from qkv.bench.limits import Limit, probe
from qkv.bench.results import Entry, Result
from qkv.bench.runner import Settings, run
from qkv.bench.timing import FEWEST, Timing, interleaved
from qkv.bench.work import Contender, Target
from qkv.bench.works import WORKS

ONCE = Settings(rounds=1, seconds=0.0, quick=True)
NAMED = {work.name: work for work in WORKS}


def judged(make, work="backward", length=100, name="peer"):
    """What becomes of a contender whose results are made from the right ones."""
    case = NAMED[work].cases(length)[0]

    def peers(inputs):
        right = runner._asking(case, inputs, "tiled")
        return [Contender(name, lambda: lambda: make(right()))]

    result = run(NAMED[work], replace(case, peers=peers), ONCE, {}, lambda text: None)
    return result.entries[1]


def changed(index, place):
    def make(results):
        results = [each.clone() for each in results]
        results[index][place] += 0.01
        return tuple(results)

    return make


def test_a_right_one_is_timed():
    entry = judged(lambda results: results)
    assert entry.problem == ""
    assert len(entry.timing.samples) == 1


@pytest.mark.parametrize("index", range(4))
def test_one_wrong_number_in_output_or_gradients_is_seen(index):
    entry = judged(changed(index, (0, 7, 99, 3)))
    assert entry.timing is None
    assert entry.problem.startswith(f"wrong: result {index}: error 0.01")


@pytest.mark.parametrize("row", [0, 50, 99])
def test_rows_at_the_start_in_the_middle_and_at_the_end_are_checked(row):
    assert judged(changed(0, (0, 0, row, 0))).problem.startswith("wrong: ")


def test_a_wrong_statistic_is_seen():
    assert judged(changed(4, (0, 0, 5)), "statistics", 40).problem.startswith("wrong: result 4")


def test_results_that_are_missing_are_seen():
    entry = judged(lambda results: results[:1])
    assert entry.problem == "wrong: must give 4 results; got 1"


def test_half_precision_is_held_to_its_own_rounding():
    assert judged(lambda results: results, "backward-bf16").problem == ""
    entry = judged(lambda results: (results[0] * 1.1, *results[1:]), "backward-bf16")
    assert entry.problem.startswith("wrong: result 0")


def test_a_peer_that_fails_says_why_and_stops_nobody():
    def fail(results):
        raise RuntimeError("no such kernel\nand more")

    assert judged(fail).problem == "failed: no such kernel"


def test_an_error_of_qkv_is_not_hidden(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("qkv.attend", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run(NAMED["small"], NAMED["small"].cases(16)[0], ONCE, {}, lambda text: None)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"packages": ("no_such_package",)}, "pip install no_such_package"),
        ({"needs": 2**60}, "needs 1073741824 GiB, "),
        ({"compiled": True}, "not in a quick run"),
    ],
)
def test_who_cannot_run_here_is_not_prepared(monkeypatch, options, problem):
    monkeypatch.setattr(runner, "free_memory", lambda: 2**30)

    def prepare():
        raise AssertionError("was prepared")

    case = NAMED["small"].cases(16)[0]
    case = replace(case, peers=lambda inputs: [Contender("peer", prepare, **options)])
    entry = run(NAMED["small"], case, ONCE, {}, lambda text: None).entries[1]
    assert entry.problem.startswith(problem)


def test_calls_take_turns():
    calls = []
    contenders = {name: lambda name=name: calls.append(name) for name in "ab"}
    assert len(interleaved(contenders, rounds=2, seconds=60.0)["a"].samples) == 2
    assert calls.index("b") < len(calls) - 1 - calls[::-1].index("a")


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 1), (0.02, FEWEST), (60.0, 5)])
def test_rounds_end_when_the_time_is_over(seconds, rounds):
    timings = interleaved({"a": lambda: time.sleep(0.022)}, rounds=5, seconds=seconds)
    assert len(timings["a"].samples) == rounds


def test_quartiles_lie_around_the_median():
    timing = Timing((1.0, 2.0, 3.0, 4.0, 5.0))
    assert (timing.median, timing.quartiles) == (3.0, (2.0, 4.0))
    assert Timing((7.0,)).quartiles == (7.0, 7.0)


def test_targets_are_judged_by_medians_and_shares():
    def entry(name, seconds):
        return Entry(name, Timing((seconds,)))

    targets = (
        Target("slow", 2.0),
        Target("quick", 2.0),
        Target("gone", 1.0),
        Target(Limit.FLOAT32, 0.8),
    )
    entries = entry("qkv", 1.0), entry("slow", 2.0), entry("quick", 0.5), Entry("gone", None, "x")
    result = Result("work", "case", "tiled", entries, targets, 8e9, Limit.FLOAT32, 1e10)
    found = [(verdict.found, verdict.reached) for verdict in result.verdicts]
    assert found == [(2.0, True), (0.5, False), (None, None), (0.8, True)]
    assert str(Target("peer", 1 / 1.6)) == "at most 1.6 × its time"
    assert str(targets[3]) == "at least 80 %"


def test_every_limit_is_probed():
    limits = probe(0.0)
    assert set(limits) == set(Limit)
    assert all(torch.isfinite(torch.tensor(peak)) and peak > 0 for peak in limits.values())
