"""A picture, and beside it where a model looked."""

import numpy
import pytest
import torch
from sheets import check_layout

from qkv.pictures import overlay


def pixels(figure):
    figure.canvas.draw()
    return numpy.asarray(figure.canvas.buffer_rgba())[..., :3].astype(float) / 255


def inside(figure, axes, across, down):
    """The colour at a share of the width and the height of axes."""
    box, drawn = axes.get_window_extent(), pixels(figure)
    column = int(box.x0 + across * box.width)
    return drawn[int(drawn.shape[0] - box.y1 + down * box.height), column]


def panels_of(figure):
    left, right, bar = figure.axes
    return left, right, bar


def test_the_picture_stands_beside_itself_in_grey_with_colour_where_it_was_looked_at():
    image = torch.tensor([200, 100, 0], dtype=torch.uint8)[:, None, None].expand(3, 16, 16)
    figure = overlay(image, [[1.0, 0.0]], title="cat $1")
    left, right, _ = panels_of(figure)
    for across in (0.1, 0.9):
        assert inside(figure, left, across, 0.5) == pytest.approx(
            [200 / 255, 100 / 255, 0], abs=0.02
        )
    unseen, seen = inside(figure, right, 0.98, 0.5), inside(figure, right, 0.05, 0.5)
    assert unseen == pytest.approx([100 / 255] * 3, abs=0.02)  # as bright as it was
    assert seen.max() - seen.min() > 0.2


def test_the_two_are_apart_and_everything_is_named():
    figure = overlay(torch.zeros(3, 8, 8), [[0.25, 0.75]], title="cat 84%")
    left, right, bar = panels_of(figure)
    assert right.get_window_extent().x0 - left.get_window_extent().x1 > 0.1 * figure.dpi
    said = [text.get_text() for text in figure.texts]
    assert said == ["cat 84%", "the picture", "where it looked"]
    assert bar.get_ylabel() == "weight"
    assert [label.get_text() for label in bar.get_yticklabels()] == ["0%", "37.5%", "75%"]


@pytest.mark.parametrize("shape", [(1, 1), (4, 400), (400, 4), (32, 32)])
def test_nothing_leaves_the_figure_or_lies_on_anything_else(shape):
    figure = overlay(torch.zeros(3, *shape), [[1.0]], title="a title of very many words " * 3)
    check_layout(figure)


@pytest.mark.usefixtures("only_bundled_fonts")
def test_a_title_that_no_font_has_is_a_warning_and_code_points():
    with pytest.warns(UserWarning, match="no installed font has 1 of the characters"):
        figure = overlay(torch.zeros(3, 4, 4), [[1.0]], title="猫 84%")
    assert figure.texts[0].get_text() == "[U+732B] 84%"
