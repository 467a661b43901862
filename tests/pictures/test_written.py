"""A text whose words are coloured by weight, as a picture."""

from itertools import pairwise

import pytest
from matplotlib.colors import to_rgb

from qkv.pictures import coloured_text, save_picture
from qkv.pictures.colours import PAPER_RAMP


def texts_of(figure):
    return {text.get_text(): text for text in figure.texts}


def test_the_strongest_word_is_darkest_and_the_bar_says_what_that_is():
    found = texts_of(coloured_text([0.5, 0.0], ["good", "film"], title="pos 93%"))
    darkest, lightest = (tuple(part / 255 for part in PAPER_RAMP[end]) for end in (-1, 0))
    for word, ground, ink in (("good", darkest, "white"), ("film", lightest, "black")):
        assert to_rgb(found[word].get_bbox_patch().get_facecolor()) == pytest.approx(ground)
        assert to_rgb(found[word].get_color()) == to_rgb(ink)
    assert {"pos 93%", "0 to 50%"} <= found.keys()


def test_words_follow_each_other_in_lines_within_the_picture(tmp_path):
    words = [f"word{number}" for number in range(60)]
    figure = coloured_text([1 / 60] * 60, words)
    found = texts_of(figure)
    boxes = [found[word].get_window_extent() for word in words]
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert min(box.y0 for box in boxes) >= 0
    lines = {round(box.y0 + box.y1) for box in boxes}
    assert 3 <= len(lines) < 20
    for left, right in pairwise(boxes):
        assert right.x0 > left.x1 or right.y1 < left.y0
    save_picture(figure, tmp_path / "text.png")
    assert (tmp_path / "text.png").stat().st_size > 1000


@pytest.mark.parametrize("count", [1, 7])
def test_a_short_text_leaves_no_white_space_beside_it(count):
    figure = coloured_text([0.1] * count, ["word"] * count, title="pos 93%")
    right = max(text.get_window_extent().x1 for text in figure.texts)
    assert right <= figure.bbox.width <= right + 0.3 * figure.dpi


def test_a_text_without_end_is_cut_and_says_so():
    figure = coloured_text([0.1] * 3000, ["word"] * 3000, title="pos 93%")
    assert "shown: the first 800 of 3,000 words" in texts_of(figure)
    assert sum(text.get_text() == "word" for text in figure.texts) == 800
    assert figure.get_figheight() < 25


def test_a_word_without_end_is_cut_and_stays_within_the_picture():
    figure = coloured_text([0.1], ["x" * 500])
    assert max(text.get_window_extent().x1 for text in figure.texts) <= figure.bbox.width
    assert figure.get_figwidth() < 9.5


def test_what_matplotlib_would_read_as_formulae_stays_text():
    assert "$x_1$" in texts_of(coloured_text([1.0], ["$x_1$"]))


def test_words_and_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="coloured_text: "):
        coloured_text([0.5], ["two", "words"])
    with pytest.raises(ValueError, match="coloured_text: "):
        coloured_text([-0.5], ["one"])
