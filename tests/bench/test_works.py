"""Every work at tiny sizes: all contenders that are there agree with the oracle."""

import shutil

import pytest
import torch

from qkv import native
from qkv.bench.peers import flex, formulas, onnx_attention, openvino_attention
from qkv.bench.runner import Settings, cases, run
from qkv.bench.work import operations
from qkv.bench.works import WORKS, masks

ONCE = Settings(rounds=1, seconds=0.0, quick=True)
LENGTH = 40
NAMED = {work.name: work for work in WORKS}

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler"
)


def silent(text):
    pass


def outcome(case, settings=ONCE):
    result = run(NAMED["masks"], case, settings, {}, silent)
    return {entry.name: entry for entry in result.entries}


def assert_right(entries):
    assert entries["qkv"].timing.median > 0
    for entry in entries.values():
        excused = entry.problem.startswith(("pip install", "not in a quick run"))
        assert excused or entry.timing.median > 0, f"{entry.name}: {entry.problem}"


@pytest.mark.parametrize("work", [w for w in WORKS if w.name != "additive"], ids=lambda w: w.name)
def test_everybody_is_right(work):
    for case in work.cases(LENGTH):
        entries = outcome(case)
        assert len(entries) > 1
        assert_right(entries)


@needs_compiler
def test_compiled_additive_formulas_are_right():
    for case in NAMED["additive"].cases(LENGTH):
        entries = outcome(case)
        assert_right(entries)
        assert entries[formulas.COMPILED].timing
        assert entries[formulas.REFORMULATED].timing


@needs_compiler
def test_flex_attention_is_right_with_a_bias_and_with_a_mask():
    forward = {case.name.split(",")[0]: case for case in reversed(masks.WORK.cases(300))}
    for name in ("ALiBi", "window 256"):
        entries = outcome(forward[name], Settings(rounds=1, seconds=0.0))
        assert_right(entries)
        assert entries[flex.NAME].timing


@pytest.mark.parametrize(
    ("package", "name"),
    [("openvino", openvino_attention.NAME), ("onnxruntime", onnx_attention.NAME)],
)
def test_other_runtimes_are_right_where_they_are_installed(package, name):
    pytest.importorskip(package)
    for case in NAMED["forward"].cases(LENGTH):
        assert outcome(case)[name].timing


def test_a_full_run_times_implementations_that_were_not_chosen():
    case = NAMED["small"].cases(16)[0]
    entries = outcome(case, Settings(rounds=1, seconds=0.0))
    chosen = "torch" if native.unavailable_reason() else "native"
    assert ("qkv, impl=torch" in entries) == (chosen != "torch")
    assert not {f"qkv, impl={chosen}", "qkv, impl=tiled"} & set(entries)
    assert_right(entries)


def test_inputs_are_the_same_in_every_run():
    case = NAMED["backward"].cases(LENGTH)[0]
    assert torch.equal(case.inputs().query, case.inputs().query)
    assert torch.equal(case.inputs().cotangent, case.inputs().cotangent)


def test_a_quick_run_has_a_case_of_every_work_and_fewer_in_all():
    quick, full = cases(WORKS, quick=True), cases(WORKS, quick=False)
    assert {work.name for work, _ in quick} == set(NAMED)
    assert len(quick) < len(full)


def test_names_tell_cases_apart():
    names = [(work.name, case.name) for work, case in cases(WORKS, quick=False)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("work", WORKS, ids=lambda w: w.name)
def test_targets_name_contenders_that_are_there_or_the_limit(work):
    for length in {*work.lengths, *work.quick}:
        for case, small in zip(work.cases(length), work.cases(LENGTH), strict=True):
            peers = {peer.name for peer in small.peers(small.inputs())}
            for target in case.targets:
                assert target.against in peers | {case.limit}


def test_a_window_counts_the_pairs_that_it_shows():
    length = 300
    case = next(c for c in masks.WORK.cases(length) if c.name.startswith("window"))
    row, col = torch.arange(length)[:, None], torch.arange(length)
    pairs = int(((col <= row) & (col > row - 256)).sum())
    assert case.amount == operations(8 * pairs, 64, backward=False)
