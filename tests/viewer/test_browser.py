"""The page in a real browser, on what `qkv look` serves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from chromium import PROGRAM, Chromium
from made import HOSTILE, capture_of, looking

from qkv import AttentionMatrix

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium")

SHORT, LONG, HOSTILES = range(3)  # the sources
CAPTURES = [capture_of(60), capture_of(4096, layers=1), capture_of(8, tokens=HOSTILE)]
# Of all maps, once they agree.
STATE = (
    "(([state, ...others]) => others.every((other) => other === state) && state)"
    "([...document.querySelectorAll('.pane canvas')].map((one) => one.dataset.state))"
)
READING = re.compile(
    r"weight (\S+): query “\u2068w(\d+)\u2069” \2 looks at key “\u2068w(\d+)\u2069” \3"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("captures")
    files = [folder / f"{name}.qkv" for name in ("short", "long", "hostile")]
    for capture, file in zip(CAPTURES, files, strict=True):
        capture.save(file)
    with looking(*files) as found:
        yield found


def settle(browser: Chromium) -> None:
    """Waits until what was asked for last is drawn, all of it."""
    frame = (
        "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => go(true))))"
    )
    browser.wait(STATE)
    browser.run(frame)
    browser.wait(f"{STATE} === 'exact'")
    browser.run(frame)


def reading(browser: Chromium) -> tuple[float, int, int]:
    """The weight that the page reads out, of which query and which key."""
    found = READING.search(browser.wait("document.getElementById('readout').textContent"))
    assert found is not None
    return float(found[1]), int(found[2]), int(found[3])


def matrix_of(source: int, layer: int = 0, head: int = 0) -> AttentionMatrix:
    return CAPTURES[source].calls[layer].matrix[0, head]


def canvas(browser: Chromium) -> dict[str, float]:
    return browser.run("document.querySelector('.pane canvas').getBoundingClientRect().toJSON()")


def hash_of(browser: Chromium) -> dict[str, str]:
    return browser.run("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def pixels(browser: Chromium, pane: int = 0) -> int:
    """A sum over the colours of a canvas."""
    return browser.run(
        f"(() => {{ const c = document.querySelectorAll('.pane canvas')[{pane}]; return c"
        ".getContext('2d').getImageData(0, 0, c.width, c.height)"
        ".data.reduce((sum, x, i) => (sum * 31 + x) % 1000003, 0); })()"
    )


def test_wheel_and_pointer_lead_to_one_cell(browser, address):
    browser.open(address)
    settle(browser)
    box = canvas(browser)
    # Whole pixels: of a fraction some kinds of events tell, and others do not.
    x, y = round(box["x"] + 0.62 * box["width"]), round(box["y"] + 0.7 * box["height"])
    browser.mouse("Moved", x, y)
    settle(browser)
    _, query, key = reading(browser)
    browser.mouse("Wheel", x, y, deltaX=0, deltaY=-1500)
    browser.wait("parseFloat(new URLSearchParams(location.hash.slice(1)).get('zoom')) > 60")
    settle(browser)
    weight, *cell = reading(browser)
    assert cell == [query, key]  # what is under the pointer stays there
    assert weight == pytest.approx(float(matrix_of(SHORT)[query, key]), abs=6e-7)
    browser.mouse("Pressed", x, y, button="left", clickCount=1)
    browser.mouse("Released", x, y, button="left", clickCount=1)
    browser.wait("location.hash.includes('query=')")
    assert (hash_of(browser)["query"], hash_of(browser)["key"]) == (str(query), str(key))


def test_dragging_moves_by_what_was_dragged(browser, address):
    browser.open(f"{address}#x=30&y=30&zoom=40")
    settle(browser)
    box = canvas(browser)
    x, y = box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"]
    browser.mouse("Pressed", x, y, button="left", clickCount=1)
    for step in range(1, 5):
        browser.mouse("Moved", x - 20 * step, y - 40 * step, button="left", buttons=1)
    browser.mouse("Released", x - 80, y - 160, button="left", clickCount=1)
    browser.wait("location.hash.includes('x=32&y=34')")
    assert "query" not in hash_of(browser)


def test_two_fingers_zoom(browser, address):
    browser.open(f"{address}#x=30&y=30&zoom=20")
    settle(browser)
    box = canvas(browser)
    x, y = box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"]

    def touch(kind: str, *apart: float) -> None:
        points = [{"x": x + by, "y": y, "id": i} for i, by in enumerate(apart)]
        browser.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", -50)
    touch("touchStart", -50, 50)
    touch("touchMove", -100, 100)
    touch("touchEnd")
    browser.wait("Math.abs(new URLSearchParams(location.hash.slice(1)).get('zoom') - 40) < 1")


def test_heads_are_switched_in_the_grid_and_the_way_back_leads_back(browser, address):
    browser.open(f"{address}#query=40&key=20")
    settle(browser)
    browser.wait("document.querySelectorAll('#grid button').length === 6")
    assert reading(browser)[0] == pytest.approx(float(matrix_of(SHORT)[40, 20]), abs=6e-7)
    browser.run("document.querySelectorAll('#grid button')[4].click()")
    browser.wait("location.hash.includes('layer=1&head=1')")
    settle(browser)
    browser.wait("document.querySelector('h1').textContent.startsWith('layers.1 head 1: ')")
    assert reading(browser) == (
        pytest.approx(float(matrix_of(SHORT, 1, 1)[40, 20]), abs=6e-7),
        40,
        20,
    )
    assert browser.run("document.querySelectorAll('#grid [aria-pressed=true]').length") == 1
    browser.run("history.back()")
    browser.wait("document.querySelector('h1').textContent.startsWith('layers.0 head 0: ')")


def test_the_address_restores_all_of_it(browser, address):
    said = "layer=1&head=2&query=50&key=31&x=33.5&y=47.25&zoom=22&how=mean&colour=linear&theme=dark"
    browser.open(f"{address}#{said}")
    settle(browser)
    first = reading(browser), hash_of(browser), pixels(browser)
    assert first[0][1:] == (50, 31)
    there = browser.run(
        "document.querySelector('#theme').dispatchEvent(new Event('change')), location.href"
    )
    assert hash_of(browser) == dict(pair.split("=") for pair in said.split("&"))
    browser.open(there)
    settle(browser)
    assert (reading(browser), hash_of(browser), pixels(browser)) == first
    browser.open(address)
    settle(browser)
    assert pixels(browser) != first[2]


def test_an_address_of_what_is_not_there_shows_what_is(browser, address):
    browser.open(
        f"{address}#layer=7&head=99&entry=3&query=999&lock=9.9.9.9&beside=x&zoom=NaN&how=min"
    )
    settle(browser)
    assert browser.run("document.querySelector('h1').textContent").startswith("layers.0 head 0: ")


def test_keys_alone(browser, address):
    browser.open(address)
    settle(browser)
    for _ in range(40):
        browser.press("Tab")
        if browser.run("document.activeElement.tagName") == "CANVAS":
            break
    browser.press("ArrowDown", 3, shift=True)
    browser.press("ArrowLeft", 6, shift=True)
    settle(browser)
    weight, query, key = reading(browser)
    assert (query, key) == (32, 24)
    assert weight == pytest.approx(float(matrix_of(SHORT)[32, 24]), abs=6e-7)
    browser.press("+", 4)
    browser.press("w", 2)
    browser.press("d")
    shown = hash_of(browser)
    zoom = float(shown["zoom"])
    assert float(shown["x"]) == pytest.approx(24.5 + 80 / zoom, rel=1e-3)
    assert float(shown["y"]) == pytest.approx(32.5 - 160 / zoom, rel=1e-3)
    browser.press("]", 4)
    browser.wait("location.hash.includes('layer=1&head=1')")
    browser.press("[", 5)
    browser.wait("!location.hash.includes('head=')")
    browser.press("0")
    browser.press("Escape")
    browser.wait("!location.hash.includes('zoom=') && !location.hash.includes('query=')")


def test_dark_and_light_as_the_system_or_as_one_says(browser, address):
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.open(address)
    settle(browser)
    assert browser.run(ground) == "rgb(255, 255, 255)"
    light = pixels(browser)
    browser.prefer("dark")
    browser.wait(f"{ground} === 'rgb(12, 15, 28)'")
    settle(browser)
    assert pixels(browser) != light
    browser.open(f"{address}#theme=light")
    settle(browser)
    assert browser.run(ground) == "rgb(255, 255, 255)"
    browser.prefer("light")


def test_two_heads_side_by_side_move_together_and_share_a_scale(browser, address):
    browser.open(f"{address}#beside=0.1.2.0&x=20&y=30&zoom=30")
    settle(browser)
    titles = browser.run("[...document.querySelectorAll('h1')].map((one) => one.textContent)")
    assert [title.partition(":")[0] for title in titles] == ["layers.0 head 0", "layers.1 head 2"]
    before = pixels(browser, 0), pixels(browser, 1)
    assert before[0] != before[1]
    browser.run("document.getElementById('lock').click()")
    browser.wait("location.hash.includes('lock=0.0.0.0')")
    settle(browser)
    after = pixels(browser, 0), pixels(browser, 1)
    assert after[0] == before[0]  # it is its own scale
    assert after[1] != before[1]
    browser.open(f"{address}#beside=0.0.0.0&x=20&y=30&zoom=30")
    settle(browser)
    assert pixels(browser, 0) == pixels(browser, 1)
    browser.run("document.querySelector('.pane canvas').focus()")
    browser.press("d", 3)
    settle(browser)
    assert pixels(browser, 0) == pixels(browser, 1)


def test_a_long_one_is_sampled_first_says_so_and_leads_to_single_weights(browser, address):
    browser.open(f"{address}#source={LONG}")
    browser.wait(f"{STATE} === 'sampled'")
    title = "document.querySelector('h1').textContent"
    assert "overview sampled: one of 2 queries" in browser.run(title)
    settle(browser)
    said = browser.run(title)
    assert "sampled" not in said
    assert "each cell the largest of about" in said
    assert "residual 1.0e-7" in said
    browser.open(f"{address}#source={LONG}&query=3000&key=2990&x=2990&y=3000&zoom=25")
    settle(browser)
    weight, *cell = reading(browser)
    assert cell == [3000, 2990]
    assert weight == pytest.approx(float(matrix_of(LONG)[3000, 2990]), rel=1e-3)
    assert browser.run("document.querySelector('.pane canvas').dataset.level") == "0"


def test_tokens_are_text_whatever_they_look_like(browser, address):
    shown = ("<img src=x", "</script><script>", "\\u202eabc", "\\u0000\\u001b[31m")
    for place, seen in enumerate((*shown, "x" * 31 + "…", "שלום", "&lt;b&gt;", "“\u2068\u2069”")):
        browser.open(f"{address}#source={HOSTILES}&query={place}&key={place}")
        settle(browser)
        assert seen in browser.run("document.getElementById('readout').textContent")
    assert browser.run("document.title") == "qkv look"
    assert browser.run("document.querySelectorAll('img, main script, footer script').length") == 0


def test_the_folder_of_the_page_names_nothing_elsewhere():
    folder = Path(__file__).parents[2] / "src" / "qkv" / "viewer" / "page"
    for file in folder.iterdir():
        assert "//" not in re.sub(r"(^|\s)// .*", "", file.read_text(encoding="utf-8")), file.name


def test_a_map_stays_exact_where_the_server_let_go_of_it(browser, address):
    browser.open(f"{address}#source={LONG}&query=3001&key=1201")
    settle(browser)
    for head in (1, 2):  # no room for the first one any longer
        asked = f"{address}edges?source={LONG}&head={head}&now=exact"
        with urlopen(asked) as answer:
            answer.read()
    browser.run("how.value = 'mean'; how.dispatchEvent(new Event('change'))")
    settle(browser)
    said = browser.wait("readout.textContent.startsWith('mean weight') && readout.textContent")
    level = browser.run("document.querySelector('.pane canvas').dataset.level")
    side = 4096 >> int(level)
    expected = matrix_of(LONG).pool(side, side, "mean")[3001 * side // 4096, 1201 * side // 4096]
    assert float(said.split()[2][:-1]) == pytest.approx(float(expected), rel=1e-3)
