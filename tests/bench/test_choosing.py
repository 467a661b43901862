import json

import pytest
import torch

from qkv import native
from qkv.bench import choosing
from qkv.bench.runner import Settings
from qkv.cli.run import run
from qkv.impl import choose
from qkv.native import quicker

pytestmark = pytest.mark.skipif(
    native.unavailable_reason() is not None, reason="the kernels were not built"
)
ONCE = Settings(rounds=1, seconds=0.0, quick=True)


def test_each_type_and_size_gets_a_ratio_whichever_is_taken(monkeypatch):
    of_few_queries = next(row for row in choosing.kinds(quick=False) if row.queries == 1)
    few = [choosing.kinds(quick=True)[1], of_few_queries]
    for lost in (False, True):
        monkeypatch.setattr(choose, "_quicker_by_torch", lambda *_, lost=lost: lost and "it is")
        measured = [row for _, row in choosing.chosen(few, ONCE, lambda text: None)]
        assert [row[:-1] for row in measured] == [row[:-1] for row in few]
        assert all(0.01 < row.ratio < 100 for row in measured)


def test_the_rows_of_other_instruction_sets_stay(tmp_path):
    table = tmp_path / "table.json"
    other = quicker.Measured("elsewhere", (quicker.Row("float32", False, False, 64, 16, 16, 2.0),))
    table.write_text(json.dumps(quicker.record({"other": other})))
    rows = [quicker.Row("float16", True, True, 128, 1, 64, 0.5)]
    choosing.keep(table, rows)
    measured = quicker.read(table)
    assert measured["other"] == other
    assert measured[native.instruction_set()].rows == tuple(rows)
    assert torch.__version__ in measured[native.instruction_set()].where


def test_the_command_keeps_what_it_measured(tmp_path, monkeypatch, capsys):
    few = choosing.kinds(quick=True)[:1]
    monkeypatch.setattr(quicker, "TABLE", tmp_path / "table.json")
    monkeypatch.setattr(choosing, "kinds", lambda quick: few)
    assert run(["bench", "--choose", "--quick", "--rounds", "1"]) == 0
    output = capsys.readouterr().out
    assert "float32, full, D 64, L 16" in output
    assert "of 1 cases" in output
    (row,) = quicker.read(tmp_path / "table.json")[native.instruction_set()].rows
    assert row[:-1] == few[0][:-1]


@pytest.mark.parametrize("options", [["small"], ["--json", "figures.json"]])
def test_it_takes_no_works_and_writes_no_other_files(options, capsys):
    assert run(["bench", *options, "--choose"]) == 2
    assert "--choose measures cases of its own" in capsys.readouterr().err
