"""A part of a map with labels where there is room, and a bar."""

from __future__ import annotations

import numpy
import pytest
import torch
from matplotlib.colors import to_rgb
from sheets import check_layout

from qkv.pictures import Bar, Side, cell_map, picture_file

BAR = Bar(torch.linspace(0, 1, 16), [(0.0, "0"), (1.0, "0.5")])


def side(name: str, start: int, stop: int, text: str = "w{}") -> Side:
    return Side(name, start, stop, [text.format(place) for place in range(start, stop)])


def drawn(figure):
    figure.canvas.draw()
    return numpy.asarray(figure.canvas.buffer_rgba())[..., :3].astype(float) / 255


def texts(labels) -> list[str]:
    return [label.get_text() for label in labels]


def test_cells_have_the_colours_of_their_shares_and_unknown_ones_are_grey():
    shares = torch.tensor([[0.0, 1.0], [torch.nan, 0.5]])
    figure = cell_map(shares, side("queries", 4, 6), side("keys", 0, 2), BAR, title="", note="")
    picture, box = drawn(figure), figure.axes[0].get_window_extent()

    def cell(row, column):
        across, down = (column + 0.5) / 2, (row + 0.5) / 2
        above = picture.shape[0] - box.y1 + down * box.height
        return picture[int(above), int(box.x0 + across * box.width)]

    assert cell(0, 0) == pytest.approx([241 / 255, 245 / 255, 249 / 255], abs=0.01)
    assert cell(0, 1) == pytest.approx([22 / 255, 32 / 255, 88 / 255], abs=0.01)
    assert cell(1, 0) == pytest.approx(to_rgb("#8a8a9c"), abs=0.01)


def test_labels_stand_at_their_places_and_thin_out():
    few = cell_map(torch.ones(3, 4), side("queries", 7, 10), side("keys", 0, 4), BAR,
                   title="a head", note="")  # fmt: skip
    axes = few.axes[0]
    assert texts(axes.get_yticklabels()) == ["w7", "w8", "w9"]
    assert [*axes.get_yticks()] == [7.5, 8.5, 9.5]
    assert (axes.get_ylim(), axes.get_xlim()) == ((10, 7), (0, 4))
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("queries", "keys")
    many = cell_map(torch.ones(256, 256), side("queries", 33, 1033), side("keys", 0, 1000), BAR,
                    title="", note="")  # fmt: skip
    assert texts(many.axes[0].get_yticklabels()) == [f"w{n}" for n in range(50, 1033, 50)]
    assert texts(many.axes[1].get_yticklabels()) == ["0", "0.5"]


@pytest.mark.parametrize("sizes", [(1, 1), (2, 400), (400, 2), (30, 30)])
def test_nothing_leaves_the_figure_or_lies_on_anything_else(sizes):
    rows, columns = sizes
    figure = cell_map(
        torch.ones(rows, columns), side("queries", 0, rows, "a long label {}"),
        side("keys", 0, columns, "another long label {}"), BAR,
        title="a title of many words " * 3, note="a note of very many words " * 9,
    )  # fmt: skip
    check_layout(figure)


def test_what_labels_hold_is_drawn_and_nothing_else():
    hostile = Side("queries", 0, 3, ["$x^2$", "a\nb\x1b[31m", "y" * 500])
    figure = cell_map(
        torch.ones(3, 3), hostile, side("keys", 0, 3), BAR, title="$a\n", note="<b>\x00"
    )
    assert texts(figure.axes[0].get_yticklabels()) == ["$x^2$", "a␣b�[31m", "y" * 19 + "…"]
    assert [text.get_text() for text in figure.texts] == ["$a", "<b>�"]


@pytest.mark.parametrize(
    ("kind", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_it_becomes_a_file(kind, begins):
    figure = cell_map(torch.ones(3, 3), side("queries", 0, 3), side("keys", 0, 3), BAR,
                      title="", note="")  # fmt: skip
    content = picture_file(figure, kind)
    assert content.startswith(begins)
    assert picture_file(figure, kind) == content
