"""A picture file of an attention matrix."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import qkv

figures = pytest.importorskip("qkv.pictures.figure")


@pytest.fixture
def drawn(monkeypatch):
    """What the figure is made of: weights, rows, columns and the options."""
    calls = []
    heatmap = figures.heatmap

    def spy(weights, rows, columns, **options):
        calls.append((weights, rows, columns, options))
        return heatmap(weights, rows, columns, **options)

    monkeypatch.setattr(figures, "heatmap", spy)
    return calls


def matrix(*lead, rows=4, cols=5, **options):
    torch.manual_seed(0)
    query, key = torch.randn(*lead, rows, 8, requires_grad=True), torch.randn(*lead, cols, 8)
    return qkv.attention(query, key, **options)


def test_labels_and_weights_are_drawn_as_they_are(drawn, tmp_path):
    lazy = matrix()
    lazy.picture(tmp_path / "map.png", rows="abcd", columns=["v", "w", "x", "y", "z"], title="one")
    [(weights, rows, columns, options)] = drawn
    torch.testing.assert_close(weights, lazy.dense().detach())
    assert (rows, columns) == (list("abcd"), list("vwxyz"))
    assert (options["title"], options["note"], options["top"]) == ("one", "", None)
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_one_entry_is_drawn_and_the_picture_says_which(drawn, tmp_path):
    lazy = matrix(2, 3)
    lazy.picture(tmp_path / "a.svg")
    lazy.picture(tmp_path / "b.svg", at=(1, -1))
    lazy[1].picture(tmp_path / "c.svg", at=(2,))
    for (weights, _, _, options), entry, said in zip(
        drawn,
        [lazy[0, 0], lazy[1, 2], lazy[1, 2]],
        ["entry [0, 0] of [2, 3]", "entry [1, -1] of [2, 3]", "entry [2] of [3]"],
        strict=True,
    ):
        torch.testing.assert_close(weights, entry.dense().detach())
        assert options["note"] == said


def test_positions_are_written_where_there_are_no_labels(drawn, tmp_path):
    matrix(rows=3, cols=40).picture(tmp_path / "a.png")
    [(_, rows, columns, _)] = drawn
    assert rows == ["0", "1", "2"]
    assert columns == [str(place) if place % 3 == 0 else "" for place in range(40)]


def test_a_large_matrix_is_pooled_and_never_built(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(qkv.AttentionMatrix, "dense", lambda *_: pytest.fail("it was built"))
    lazy = matrix(1, rows=1000, cols=90, mask=qkv.Window(2, 2), query_offset="start")
    lazy.picture(tmp_path / "a.png", columns=[f"key {number}" for number in range(90)])
    [(weights, rows, columns, options)] = drawn
    torch.testing.assert_close(weights, lazy.pool(80, 80)[0])
    assert options["note"] == "each cell: the largest of up to 13 × 2 weights, its first label"
    # Row i of the map stands for the queries q with i == q * 80 // 1000.
    firsts = [min(q for q in range(1000) if q * 80 // 1000 == place) for place in range(80)]
    assert rows[::5] == [str(first) for first in firsts[::5]]
    assert columns[79] == f"key {min(k for k in range(90) if k * 80 // 90 == 79)}"


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (matrix, {"rows": "abc"}, r"picture: rows must hold a label for each of 4; got 3"),
        (matrix, {"columns": "abc"}, r"picture: columns must hold a label for each of 5; got 3"),
        (lambda: matrix(2), {"at": (0, 0)}, r"picture: at must give one index .*\[2, 4, 5\]"),
        (
            lambda: matrix(normalizer=qkv.Identity()),
            {},
            "picture: weights must be finite and not negative .* normalizer identity",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(make, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make().picture(tmp_path / "a.png", **options)
    assert not list(tmp_path.iterdir())


def test_the_file_is_checked_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(qkv.AttentionMatrix, "dense", lambda *_: pytest.fail("computed"))
    with pytest.raises(ValueError, match=r"must end in \.png, \.svg, \.pdf"):
        matrix().picture(tmp_path / "a.jpg")


def test_the_engine_loads_no_drawing_until_a_picture_is_asked_for():
    code = (
        "import sys, torch, qkv\n"
        "qkv.attention(torch.eye(3), torch.eye(3))._repr_html_()\n"
        "sys.exit('qkv.pictures' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
