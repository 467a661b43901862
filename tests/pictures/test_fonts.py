import pytest
from matplotlib import font_manager

from qkv.pictures import chinese_font, fonts

needs_chinese = pytest.mark.skipif(
    chinese_font() is None, reason="no font with Chinese is installed (fonts-wqy-microhei)"
)
UNASSIGNED = "\U000e0fff"


def test_latin_needs_matplotlibs_own_font_alone():
    assert fonts.choose_fonts("plain text, Größe ≤ 1") == fonts.FontChoice(("DejaVu Sans",), "")


@needs_chinese
def test_chinese_gets_a_font_that_has_the_characters():
    choice = fonts.choose_fonts("attention 注意力")
    assert choice.missing == ""
    [path] = {
        entry.fname
        for entry in font_manager.fontManager.ttflist
        if entry.name == choice.families[-1] and entry.style == "normal"
    }
    assert ord("注") in font_manager.get_font(path).get_charmap()


@needs_chinese
def test_fonts_installed_after_matplotlib_listed_them_are_found(monkeypatch):
    known = font_manager.fontManager.ttflist
    family = chinese_font()
    monkeypatch.setattr(
        font_manager.fontManager, "ttflist", [entry for entry in known if entry.name != family]
    )
    fonts._add_new_fonts.cache_clear()
    assert chinese_font() is not None


def test_what_no_font_has_is_reported():
    assert fonts.choose_fonts(f"a{UNASSIGNED}").missing == UNASSIGNED


@pytest.mark.usefixtures("only_bundled_fonts")
def test_the_font_of_boxes_does_not_count():
    assert chinese_font() is None
    assert set(fonts.choose_fonts("注意").missing) == set("注意")
