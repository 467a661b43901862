"""The map in view as a picture file: which part of which head, in which colours."""

from __future__ import annotations

import json
import re

import pytest
import torch
from made import capture_of

import qkv
from qkv import pictures
from qkv.capture.call import Call
from qkv.capture.capture import Capture
from qkv.cli.run import run
from qkv.viewer.answers import Answers
from qkv.viewer.figure import View
from qkv.viewer.levels import Levels
from qkv.viewer.page_files import page_files
from qkv.viewer.spread import Spread
from qkv.viewer.state import NAMES, PAGE, State, fitting
from qkv.viewer.subject import At, Source, Subject

SHORT, LONG = capture_of(60), capture_of(3000, layers=1)
ANSWERS = Answers(Subject([Source("short", SHORT), Source("long", LONG)]))


@pytest.fixture
def drawn(monkeypatch) -> list:
    """What is drawn: shares, sides, bar, title and note."""
    calls = []

    def cell_map(shares, rows, columns, bar, **texts):
        calls.append((shares, rows, columns, bar, texts))

    monkeypatch.setattr(pictures, "cell_map", cell_map)
    monkeypatch.setattr(pictures, "picture_file", lambda figure, kind: kind.encode())
    return calls


def ask(**values: object) -> bytes:
    return ANSWERS.answer("figure", {name: str(value) for name, value in values.items()})


def test_a_part_of_a_head_by_its_own_scale(drawn):
    asked = {"layer": 1, "head": 2, "top": 30, "bottom": 50, "left": 10, "right": 25}
    assert ask(**asked, kind="pdf", colour="linear") == b"pdf"
    [(shares, rows, columns, bar, texts)] = drawn
    weights = SHORT.calls[1].matrix[0, 2].dense()
    top = float(weights.max())
    torch.testing.assert_close(shares, weights[30:50, 10:25] / top, atol=1e-6, rtol=1e-5)
    assert (rows.start, rows.stop, rows.labels[0]) == (30, 50, "w30")
    assert (columns.start, columns.stop, columns.labels[-1]) == (10, 25, "w24")
    assert bar.texts[-1] == (1.0, f"{top:.2g}")
    assert texts["title"] == "layers.1, head 2"
    assert texts["note"] == (
        "“short”: rows are queries, 30 to 49 of 60; columns are keys, 10 to 24 of 60; "
        "each cell is one weight; colours are linear."
    )


def test_the_scale_of_another_head(drawn):
    asked = {"top": 0, "bottom": 60, "left": 0, "right": 60, "colour": "linear"}
    ask(**asked, scale="0.1.2.0")
    [(shares, *_, texts)] = drawn
    weights, other = (SHORT.calls[layer].matrix[0, h].dense() for layer, h in ((0, 0), (1, 2)))
    expected = (weights / float(other.max())).clamp(max=1)
    torch.testing.assert_close(shares, expected, atol=1e-6, rtol=1e-5)
    assert texts["note"].endswith("linear, the scale that of layers.1, head 2.")


@pytest.mark.parametrize("how", ["max", "mean"])
def test_what_is_larger_than_a_screen_is_pooled_and_exact(drawn, how):
    """Of a part that begins and ends inside cells, whole cells are drawn."""
    part = {"source": 1, "top": 500, "bottom": 2500, "left": 700, "right": 2900}
    ask(**part, how=how, colour="linear")
    [(shares, rows, columns, _, texts)] = drawn
    assert shares.shape[0] <= 600
    assert shares.shape[1] <= 900
    matrix = LONG.calls[0].matrix[0, 0]
    pooled = matrix.pool(512, 512, how)
    top, left = 500 * 512 // 3000, 700 * 512 // 3000
    part = pooled[top : top + shares.shape[0], left : left + shares.shape[1]]
    most = float(matrix.pool(256, 256).max())
    torch.testing.assert_close(shares, part / most, atol=1e-6, rtol=1e-4)
    assert rows.start <= 500 < 2500 <= rows.stop
    assert (len(rows.labels), len(columns.labels)) == (
        rows.stop - rows.start,
        columns.stop - columns.start,
    )
    pool = "largest" if how == "max" else "mean"
    assert f"each cell is the {pool} of about 5.86 × 5.86 weights" in texts["note"]


def test_what_is_grey_is_said(drawn):
    capture, side = Capture(), torch.tensor([[[1.0], [-1.0]]])
    matrix = qkv.attention(side, side, normalizer=qkv.Identity())
    capture.calls.append(Call("odd", "self", 0, matrix, None, "made"))
    Answers(Subject([Source("odd", capture)])).figure(whole(2), "png")
    ANSWERS.figure(whole(60), "png")
    notes = [texts["note"] for *_, texts in drawn]
    assert ["grey is negative or no number" in note for note in notes] == [True, False]


def whole(length: int) -> View:
    at = At(0, 0, 0, 0)
    return View(at, at, range(length), range(length), "max", "log")


def test_equalised_shares_are_half_by_logarithm_and_half_by_rank():
    weights = torch.tensor([2.0**-power for power in range(40)])
    spread = Spread(weights)
    # A twentieth is below the lowest.
    assert spread.low == 2.0**-37
    shares = spread.shares(torch.tensor([1.0, 2.0**-37, 2.0**-18, 0.0, -1.0, torch.nan]), "log")
    middle = 0.04 + 0.96 * ((37 - 18) / 37 + 22 / 40) / 2
    expected = [1.0, 0.04 + 0.96 * (0 + 3 / 40) / 2, middle, 0.0]
    torch.testing.assert_close(shares[:4], torch.tensor(expected))
    assert bool(shares[4:].isnan().all())
    along, marks = spread.bar("log")
    assert bool((along.diff() >= 0).all())
    assert [text for _, text in marks] == ["7.3e-12", "4.4e-09", "2.7e-06", "0.0016", "1"]


@pytest.mark.parametrize("weights", [torch.zeros(4), torch.full((4,), 0.25)])
def test_weights_that_are_all_alike_have_colours_too(weights):
    for way in ("log", "linear"):
        shares = Spread(weights).shares(weights, way)
        assert bool(((shares >= 0) & (shares <= 1)).all())
        assert set(shares.tolist()) == {
            float(weights[0] > 0)
        }  # the largest has the end of the ramp


def test_a_state_says_which_cells_are_in_view():
    levels = Levels(60, 60)
    subject = ANSWERS.subject
    assert State.read("", subject).cells(levels) == (range(60), range(60))
    state = State.read("http://x/y/#x=30&y=20&zoom=60", subject)
    assert state.cells(levels) == (range(15, 25), range(22, 38))
    assert fitting(state.cells(levels), levels) == 0
    corner = State.read("#x=0&y=60&zoom=60", subject).cells(levels)
    assert corner == (range(55, 60), range(8))
    assert fitting((range(3000), range(3000)), Levels(3000, 3000)) == 3
    assert State.read("#beside=1.0.2.0&lock=0.1.0.0", subject).heads == [
        At(0, 0, 0, 0),
        At(1, 0, 2, 0),
    ]


def test_all_that_stands_in_an_address_is_known():
    script = page_files()["state.js"].decode()
    said = script.partition("const WORDS")[2].partition("export class")[0]
    names = {*re.findall(r"(\w+): (?:\[|null|\d)", said), "show", "sort"}
    assert names == {*NAMES}
    words = dict(re.findall(r"(\w+): \[(.*?)\]", said))
    for name, pattern in PAGE.items():
        if name in words:
            assert pattern == words[name].replace('", "', "|").strip('"')
    [views] = re.findall(r"const VIEWS = (.*);", script)
    assert re.fullmatch(PAGE["show"], ".".join(json.loads(views)))


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_the_command_writes_a_figure(kind, tmp_path, capsys):
    SHORT.save(tmp_path / "short.qkv")
    file = tmp_path / f"figure.{kind}"
    at = "#layer=1&head=2&x=15&y=40&zoom=50"
    assert run(["look", str(tmp_path / "short.qkv"), "--at", at, "--export", str(file)]) == 0
    view = {"layer": 1, "head": 2, "top": 34, "bottom": 46, "left": 6, "right": 24}
    expected = Answers(Subject([Source("short.qkv", SHORT)])).answer(
        "figure", {name: str(value) for name, value in {**view, "kind": kind}.items()}
    )
    assert file.read_bytes() == expected
    assert capsys.readouterr() == ("", "")
