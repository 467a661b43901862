import pytest
import torch
from rich.console import Console

from qkv.pictures import TerminalGrid, TerminalWords, overlay


def printed(drawing, **options):
    console = Console(width=60, record=True, file=open("/dev/null", "w"), **options)  # noqa: SIM115
    console.print(drawing)
    text = console.export_text(styles=bool(options.get("color_system")))
    console.file.close()
    return text


def test_words_are_shaded_by_their_share_of_the_strongest():
    drawing = TerminalWords([0.5, 0.04, 0.3, 0.06], ["what", "a", "good", "film"])
    assert printed(drawing) == (
        "█what a ▓good ░film\n\n░░ from 5%  ▒▒ from 12.5%  ▓▓ from 25%  ██ from 37.5%\n"
    )


def test_with_colour_words_are_painted_and_nothing_is_added_to_them():
    text = printed(
        TerminalWords([1.0, 0.0], ["one", "two"]), color_system="truecolor", force_terminal=True
    )
    assert "48;2;252;240;160mone" in text
    assert "48;2;16;20;48mtwo" in text


def test_a_long_text_is_wrapped():
    lines = printed(TerminalWords([0.1] * 50, ["word"] * 50)).splitlines()
    assert len(lines) > 5
    assert max(map(len, lines)) <= 60
    assert sum(line.count("word") for line in lines) == 50


def test_a_grid_has_a_square_for_each_place():
    assert printed(TerminalGrid([[0.4, 0.0], [0.1, 0.2]])).splitlines()[:2] == ["██··", "▒▒▓▓"]
    text = printed(TerminalGrid([[1.0, 0.0]]), color_system="truecolor", force_terminal=True)
    assert "48;2;252;240;160m  " in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TerminalWords([0.1], ["a", "b"]), "one label for each"),
        (lambda: TerminalWords([-0.1], ["a"]), "must be finite and not negative"),
        (lambda: TerminalGrid([[torch.nan]]), "must be finite and not negative"),
        (lambda: overlay(torch.zeros(3, 4), [[1.0]]), r"image must be \[3, H, W\]; got \[3, 4\]"),
        (lambda: overlay(torch.zeros(3, 4, 4), [[-1.0]]), "must be finite and not negative"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
