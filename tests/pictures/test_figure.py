import struct
import warnings
from itertools import pairwise

import pytest
import torch
from matplotlib.colors import to_hex

from qkv.pictures import chinese_font, heatmap, save_picture

ROWS = ("我", "爱", "你")
COLUMNS = ("I", "love", "you")


def saved(figure, path):
    save_picture(figure, path)
    return path.read_bytes()


def draw(rows=ROWS, columns=COLUMNS, **options):
    return heatmap(torch.eye(len(rows), len(columns)), rows, columns, **options)


@pytest.mark.skipif(
    chinese_font() is None, reason="no font with Chinese is installed (fonts-wqy-microhei)"
)
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_chinese_labels_are_drawn_without_a_missing_glyph(tmp_path, kind):
    # matplotlib warns of each glyph that it replaces by a box; warnings are errors here.
    assert len(saved(draw(), tmp_path / f"map.{kind}")) > 1000


def test_png_is_as_large_as_its_labels_need(tmp_path):
    def size(columns):
        data = saved(draw("abc", columns), tmp_path / "map.png")
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        return struct.unpack(">II", data[16:24])

    narrow, wide = size("abc"), size(["a", "b", "counterrevolution"])
    assert wide[0] > narrow[0] + 100
    assert wide[1] == narrow[1]


def test_cells_are_as_wide_as_their_labels_and_coloured_by_weight():
    figure = heatmap([[0.0, 1.0]], ["x"], ["a", "counterrevolution"])
    [mesh] = figure.axes[0].collections
    edges = mesh.get_coordinates()[0, :, 0]
    assert edges[2] - edges[1] > 3 * (edges[1] - edges[0])
    figure.canvas.draw()
    assert [to_hex(colour) for colour in mesh.get_facecolors()] == ["#f1f5f9", "#162058"]


def test_strong_cells_are_numbered_in_per_cent():
    figure = heatmap([[0.07, 0.93], [0.5, 0.5]], "xy", "ab")
    assert [text.get_text() for text in figure.axes[0].texts] == ["93", "50", "50"]


def test_rows_run_downwards_and_columns_are_named_on_top():
    axes = draw("xyz").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y", "z"]
    assert axes.yaxis_inverted()
    assert axes.xaxis.get_ticks_position() == "top"


def test_the_same_weights_give_the_same_bytes(tmp_path):
    for kind in ("png", "svg", "pdf"):
        first, second = (saved(draw("xyz"), tmp_path / f"{n}.{kind}") for n in (1, 2))
        assert first == second


def test_labels_are_text_never_formulas(tmp_path):
    figure = draw("xyz", ["$x^2$", "\\frac", "$"], title="costs $5 or $6")
    assert "$x^2$" in [label.get_text() for label in figure.axes[0].get_xticklabels()]
    saved(figure, tmp_path / "map.svg")


@pytest.mark.usefixtures("only_bundled_fonts")
def test_a_character_that_no_font_has_is_a_warning_and_a_code_point(tmp_path):
    with pytest.warns(UserWarning, match=r"no installed font has 2 .* \(我 爱\).*fonts-wqy"):
        figure = heatmap([[1.0], [0.0]], ["我", "爱爱"], ["love"])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["[U+6211]", "[U+7231][U+7231]"]
    saved(figure, tmp_path / "map.png")


def test_a_huge_map_is_cut_and_says_so(tmp_path):
    figure = heatmap(torch.zeros(3, 10_000), "xyz", ["word"] * 10_000)
    assert "the first 80 of 10,000 columns" in {text.get_text() for text in figure.texts}.pop()
    saved(figure, tmp_path / "map.png")


def test_a_long_sentence_continues_in_panels_below():
    figure = heatmap(torch.eye(2, 60), "xy", [f"word{number}" for number in range(60)])
    maps = [axes for axes in figure.axes if axes.xaxis.get_ticks_position() == "top"]
    named = [label.get_text() for axes in maps for label in axes.get_xticklabels()]
    assert named == [f"word{number}" for number in range(60)]
    assert len(maps) > 1
    assert figure.get_size_inches()[0] < 14
    tops = [axes.get_window_extent().y1 for axes in maps]
    bottoms = [axes.get_window_extent().y0 for axes in maps]
    assert all(above > below for above, below in zip(bottoms, tops[1:], strict=False))


def words(count):
    return [("a", "word", "counterrevolution")[number % 3] for number in range(count)]


@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (1, 80), (20, 25), (143, 50), (60, 12), (150, 5), (1000, 1000)]
)
def test_no_side_is_longer_than_a_screen_can_be_scrolled(tmp_path, rows, columns):
    figure = heatmap(torch.full((rows, columns), 0.5), ["row"] * rows, words(columns))
    save_picture(figure, tmp_path / "map.png")
    width, height = struct.unpack(">II", (tmp_path / "map.png").read_bytes()[16:24])
    assert 150 <= width <= 2400
    assert 150 <= height <= 3600


def test_many_rows_and_columns_turn_the_labels_and_leave_out_no_number_of_either():
    figure = heatmap(torch.full((143, 50), 0.5), ["row"] * 143, words(50))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == words(50)
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90.0}
    assert len(axes.get_yticklabels()) == 143
    assert not axes.texts  # no cell has room for a number
    figure.canvas.draw()
    rows = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(rows))
    assert max(label.get_window_extent().y1 for label in axes.get_xticklabels()) <= (
        figure.bbox.height
    )


def test_the_bar_says_what_it_measures_and_stays_within_the_figure():
    figure = heatmap([[0.123]], ["x"], ["a"], top=None)
    bar = figure.axes[1]
    assert bar.get_ylabel() == "weight"
    assert [label.get_text() for label in bar.get_yticklabels()] == ["0%", "6.15%", "12.3%"]
    extent = bar.get_tightbbox()
    assert 0 <= extent.x0 < extent.x1 <= figure.bbox.width
    assert 0 <= extent.y0 < extent.y1 <= figure.bbox.height


def test_a_note_stands_before_what_was_left_out():
    figure = heatmap(torch.ones(3, 1), "xyz", "a", note="each is one", max_rows=2)
    assert [text.get_text() for text in figure.texts] == [
        "each is one; shown: the first 2 of 3 rows"
    ]


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="max_rows must be at least 1; got 0"):
        heatmap([[1.0]], ["x"], ["a"], max_rows=0)


def test_title_and_note_fit_the_figure():
    figure = heatmap(torch.ones(3, 2), "xyz", "ab", title="a title of many words", max_rows=2)
    assert len(figure.texts) == 2
    for text in figure.texts:
        extent = text.get_window_extent()
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.width
        assert extent.y0 >= 0
        assert extent.y1 <= figure.bbox.height


def test_drawing_warns_of_nothing_else():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw("xyz", top=None).canvas.draw()
