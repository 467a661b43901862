import io
import re

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from qkv.pictures import TerminalMap

WEIGHTS = torch.tensor(
    [
        [0.05, 0.90, 0.00, 0.00, 0.05],
        [0.00, 0.60, 0.10, 0.30, 0.00],
        [0.00, 0.00, 0.20, 0.80, 0.00],
    ]
)
ROWS = ("不", "高", "兴")
COLUMNS = ("I", "am", "not", "happy", ".")


def drawn(heat_map: TerminalMap, width: int = 80, colour: str | None = None) -> str:
    console = Console(
        width=width, color_system=colour, force_terminal=colour is not None, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(heat_map)
    return capture.get()


def test_without_colour_cells_are_shaded_in_five_steps():
    assert drawn(TerminalMap(WEIGHTS, ROWS, COLUMNS)) == (
        "    I   am not happy  .\n"
        "不  ·  ███  ·    ·    ·\n"
        "高  ·  ▓▓▓ ░░░ ▒▒▒▒▒  ·\n"
        "兴  ·   ·  ░░░ █████  ·\n"
        "\n"
        "   ░░ from 10%  ▒▒ from 25%  ▓▓ from 50%  ██ from 75%\n"
    )


def test_what_is_too_wide_continues_in_panels_below():
    panels = drawn(TerminalMap(WEIGHTS, ROWS, COLUMNS), width=16).split("   ░░")[0]
    assert panels == (
        "    I   am not\n"
        "不  ·  ███  ·\n"
        "高  ·  ▓▓▓ ░░░\n"
        "兴  ·   ·  ░░░\n"
        "\n"
        "   happy  .\n"
        "不   ·    ·\n"
        "高 ▒▒▒▒▒  ·\n"
        "兴 █████  ·\n"
        "\n"
    )


def test_every_line_of_a_map_with_double_width_labels_fits_and_aligns():
    labels = ("一二三", "中", "ab")
    lines = drawn(TerminalMap(torch.eye(3), ROWS, labels), colour="truecolor").splitlines()
    visible = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines[1:4]]
    assert [cell_len(line) for line in visible] == [3 + 7 + 4 + 4] * 3
    assert [line.index("100") for line in visible] == [2 + 2, 2 + 7, 2 + 7 + 4]


def test_with_colour_a_cell_shows_per_cent_on_the_colour_of_its_weight():
    text = drawn(TerminalMap([[1.0, 0.0, 0.26]], ["x"], ["a", "b", "c"]), colour="truecolor")
    assert "48;2;252;240;160m100 " in text
    assert "48;2;16;20;48m    " in text
    assert " 26 " in text
    assert "░" not in text


def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "█" in drawn(TerminalMap([[1.0]], ["x"], ["a"]), colour="truecolor")


def test_ascii_terminals_get_ascii():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=file, width=80).print(TerminalMap(WEIGHTS, "abc", COLUMNS))
    file.flush()
    assert b"b  .  *** --- +++++  .\n" in file.buffer.getvalue()


def test_top_scales_and_the_legend_says_so():
    weights = [[0.02, 0.01]]
    assert "███  ·" not in drawn(TerminalMap(weights, ["x"], ["a", "b"]))
    relative = drawn(TerminalMap(weights, ["x"], ["a", "b"], top=None))
    assert "███ ▓▓▓" in relative
    assert "██ from 1.5%" in relative


def test_what_is_cut_is_said():
    text = drawn(TerminalMap(torch.zeros(3, 10_000), "abc", ["w"] * 10_000, max_rows=2))
    assert "shown: the first 2 of 3 rows and the first 120 of 10,000 columns" in text
    assert len(text.splitlines()) < 40


def test_long_labels_are_shortened():
    text = drawn(TerminalMap([[1.0]], ["x"], ["counterrevolutionaries"]))
    assert text.splitlines()[0] == "  counterrevoluti…"


def test_labels_cannot_steer_the_terminal():
    text = drawn(TerminalMap([[1.0]], ["a\nb"], ["\x1b[2J[red]"]))
    assert "\x1b" not in text
    assert "�[2J[red]" in text
    assert "a␣b" in text


@pytest.mark.parametrize("top", [0.0, -1.0, float("nan")])
def test_top_must_be_positive(top):
    with pytest.raises(ValueError, match="top must be a weight above 0"):
        TerminalMap([[1.0]], ["x"], ["a"], top=top)
