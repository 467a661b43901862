import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
from fake_study import FAKE, NEEDY

from qkv.lab.drawing import _figure
from qkv.lab.report import write_report
from qkv.lab.session import conduct
from qkv.lab.study import Line, Plot


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    conducted = conduct([FAKE, NEEDY], folder, {}, quick=False, say=lambda _: None)
    write_report(folder, conducted, command="qkv compare 'a b'", quick=False)
    return folder


def test_json_has_everything(folder):
    results = json.loads((folder / "results.json").read_text())
    assert results["schema"] == 1
    assert results["command"] == "qkv compare 'a b'"
    assert {"processor", "threads", "torch", "python", "qkv"} <= set(results["machine"])
    done, left_out = results["studies"]
    assert done["seeds"] == [0, 1, 2]
    assert len(done["runs"]) == 16
    run = next(r for r in done["runs"] if r["model"] == "good" and r["rate"] == 0.01)
    assert run["measured"]["right"].count("1") == 90
    assert run["measured"]["seconds"] >= 0
    (finding,) = done["findings"]
    assert finding["verdict"] == "holds"
    assert finding["intervals"][0]["value"] == pytest.approx(30)
    assert left_out["left out"].startswith("needs text/absent.tsv")


def test_the_page_needs_nothing_else(folder):
    html = (folder / "report.html").read_text()
    addresses = set(re.findall(r"https?://[^\"'\s<]*", html))
    assert addresses <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}  # names
    assert not re.search(r"<(script|link|img|iframe)\b|\bsrc=|@import|url\((?!#)", html)


def test_the_page_says_what_was_found(folder):
    html = (folder / "report.html").read_text()
    for text in (
        "Good is &lt;better&gt; than poor.", "By 30.0 [", "<td>holds</td>", "Take &lt;it&gt;.",
        "needs text/absent.tsv", "Nobody (2000), table 0", "<td>steps 20</td>", "<td>1,000</td>",
        "<td>0.01; 0.1; 5</td><td>0.01</td>",
    ):  # fmt: skip
        assert text in html
    (drawn,) = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    texts = "".join(ElementTree.fromstring(drawn).itertext())
    assert "per cent" in texts
    assert "words" in texts
    assert "good" in texts


def test_markdown_tables_are_tables(folder):
    lines = (folder / "report.md").read_text().splitlines()
    assert "| a\\|b |" in lines
    assert "| 4\\|2 |" in lines
    assert "![Quality](plots/fake-1.svg)" in lines
    assert (folder / "plots" / "fake-1.svg").read_text().startswith("<svg")


def test_intervals_of_lines_stand_side_by_side():
    lines = [Line(name, [1, 10], [y, y], [y - 1, y - 1], [y + 1, y + 1])
             for y, name in ((3.0, "a"), (3.5, "b"))]  # fmt: skip
    figure = _figure(Plot("Quality", "words", "per cent", lines, log_x=True))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    bars = [collection.get_transform().transform((1, 3.0))[0] for collection in axes.collections]
    points = [line.get_transform().transform((1, 3.0))[0] for line in axes.lines]
    assert bars == points
    assert bars[1] - bars[0] == pytest.approx(2 / 72 * figure.dpi)
    assert axes.get_ylim()[0] < 2
    assert axes.get_ylim()[1] > 4.5
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "10"]


def test_runs_of_another_processor_are_said_to_be(tmp_path):
    conducted = conduct([FAKE], tmp_path, {}, quick=False, say=lambda _: None)
    write_report(tmp_path, conducted, command="qkv compare", quick=False)
    assert "Runs made on" not in (tmp_path / "report.md").read_text()
    for record in conducted[0].results.records.values():
        record["processor"] = "Abacus (beads)"
    write_report(tmp_path, conducted, command="qkv compare", quick=False)
    assert "Runs made on Abacus (beads): fake" in (tmp_path / "report.md").read_text()
