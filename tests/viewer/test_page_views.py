"""The views of the page in a real browser: text, alignment, heads, pictures, ratios."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch

pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from chromium import PROGRAM, Chromium
from made import HOSTILE, capture_of, looking, pair_of, patches_of

import qkv

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium")

TEXT, PAIR, PICTURE, HOSTILES, LONGER, OTHER = range(6)  # the sources
WORDS = ["[CLS]", *(f"w{place}" for place in range(1, 59)), "[SEP]"]
SOURCE, TARGET = ["ein", "sehr", "kleiner", "Hund", "</s>"], ["</s>", "a", "tiny", "dog"]
CAPTURES = [
    capture_of(60, tokens=WORDS), pair_of(SOURCE, TARGET), patches_of(4, 6),
    capture_of(8, tokens=HOSTILE), capture_of(3000, layers=1), capture_of(60, seed=5),
]  # fmt: skip
READY = (
    "[...document.querySelectorAll('.view[data-state], .pane div canvas')]"
    ".every((one) => one.dataset.state === 'exact')"
)
FRAME = "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(() => go(true))))"
SHADED = (
    "[...document.querySelectorAll('{} [data-place]')]"
    ".filter((one) => one.style.background)"
    ".map((one) => Number(one.dataset.place))"
)


# Pairs of texts that lie over each other, where what scrolls shows them.
OVERLAPPING = """(() => {
  const boxOf = (one) => {
    const box = one.getBoundingClientRect();
    const room = (one.closest('.scroller, #grid') ?? one).getBoundingClientRect();
    const [top, bottom] = [Math.max(box.top, room.top), Math.min(box.bottom, room.bottom)];
    return { one, left: box.left + 1, right: box.right, top: top + 1, bottom };
  };
  const where = 'header label, header button, #grid h2, .sentence, .pane h1, .legend, .flow span,'
    + ' footer > *';
  const boxes = [...document.querySelectorAll(where)]
    .filter((one) => one.textContent && one.getClientRects().length)
    .map(boxOf).filter((box) => box.bottom > box.top);
  const isOver = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom
    && b.top < a.bottom && !a.one.contains(b.one);
  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => isOver(a, b))
    .map((b) => [a.one.textContent, b.one.textContent]));
})()"""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("captures")
    files = [folder / f"{number}.qkv" for number in range(len(CAPTURES))]
    for capture, file in zip(CAPTURES, files, strict=True):
        capture.save(file)
    with looking(*files) as found:
        yield found


def settle(browser: Chromium) -> None:
    """Waits until all that is shown is known and drawn."""
    browser.run(FRAME)
    browser.wait(READY)
    browser.run(FRAME)


def show(browser: Chromium, address: str) -> None:
    browser.open(address)
    browser.wait("document.querySelector('.view') !== null")
    settle(browser)


def dense_of(source: int, layer: int = 0, head: int = 0) -> torch.Tensor:
    return CAPTURES[source].calls[layer].matrix[0, head].dense()


def until(weights: torch.Tensor, share: float, apart: tuple[int, ...] = ()) -> set[int]:
    """The strongest links that hold a share of what is not left out, by the definition."""
    rest = weights.double().clone()
    rest[list(apart)] = 0
    order = rest.argsort(descending=True, stable=True)
    before = rest[order].cumsum(0) - rest[order]
    return set(order[(before < share * rest.sum()) & (rest[order] > 0)].tolist())


def shaded(browser: Chromium, where: str = ".view[data-view=text]") -> set[int]:
    return set(browser.run(SHADED.format(where)))


def sentence(browser: Chromium, view: str = "text") -> str:
    return browser.run(f"document.querySelector('.view[data-view={view}] .sentence').textContent")


def hash_of(browser: Chromium) -> dict[str, str]:
    return browser.run("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def click(browser: Chromium, selector: str) -> None:
    """Where a user would."""
    box = browser.run(
        f"(() => {{ const one = document.querySelector({selector!r});"
        " one.scrollIntoView({ block: 'nearest', inline: 'nearest' });"
        " const b = one.getBoundingClientRect();"
        " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    for kind in ("Moved", "Pressed", "Released"):
        more = {} if kind == "Moved" else {"button": "left", "clickCount": 1}
        browser.mouse(kind, *map(round, box), **more)


def test_a_selected_token_shades_where_it_looks_until_a_share(browser, address):
    weights = dense_of(TEXT, 1, 2)
    show(browser, f"{address}#show=text&layer=1&head=2&query=50")
    assert shaded(browser) == until(weights[50], 0.9)
    strongest = int(weights[50].argmax())
    said = sentence(browser)
    assert said.startswith("“\u2068w50\u2069” 50 looks at ")
    assert f"“\u2068{WORDS[strongest]}\u2069” {strongest} {float(weights[50].max()):.6f}" in said
    browser.run(
        "(() => { const s = document.getElementById('share'); s.value = 40;"
        " s.dispatchEvent(new Event('input')); })()"
    )
    browser.run(FRAME)
    assert hash_of(browser)["share"] == "40"
    assert shaded(browser) == until(weights[50], 0.4)


def test_the_direction_is_turned_and_tokens_are_left_out(browser, address):
    weights = dense_of(TEXT)
    show(browser, f"{address}#show=text&key=3&way=in&share=80")
    assert shaded(browser) == until(weights[:, 3], 0.8)
    assert "“\u2068w3\u2069” 3 is looked at by" in sentence(browser)
    show(browser, f"{address}#show=text&query=59&share=100")
    assert {0, 59} <= shaded(browser)
    click(browser, "#apart")
    settle(browser)
    assert hash_of(browser)["apart"] == "left"
    assert shaded(browser) == until(weights[59], 1, (0, 59))
    left = 100 * float(1 - weights[59, 0] - weights[59, 59])
    assert f"the other {round(left, 1):g} % of the weight" in sentence(browser)
    assert "not renormalised" in sentence(browser)


def test_a_token_is_pointed_at_and_selected_in_all_views(browser, address):
    weight, key = map(float, dense_of(TEXT)[41].max(0))
    show(browser, f"{address}#show=map.text&x=30&y=30&zoom=8&key={int(key)}")
    click(browser, ".view[data-view=text] [data-place='41']")
    browser.wait("location.hash.includes('query=41')")
    settle(browser)
    assert hash_of(browser)["key"] == str(int(key))
    readout = browser.run("document.getElementById('readout').textContent")
    assert f"{weight:.6f}: query “\u2068w41\u2069” 41" in readout
    box = browser.run("document.querySelector('.pane div canvas').getBoundingClientRect().toJSON()")
    x, y = box["x"] + 150 + 20, box["y"] + 110 + 120
    for kind in ("Moved", "Pressed", "Released"):
        more = {} if kind == "Moved" else {"button": "left", "clickCount": 1}
        browser.mouse(kind, round(x), round(y), **more)
    browser.wait("!location.hash.includes('query=41')")
    browser.mouse("Moved", 5, 5)
    settle(browser)
    query = int(hash_of(browser)["query"])
    assert f"“\u2068{WORDS[query]}\u2069” {query} looks at" in sentence(browser)
    browser.run(
        "document.querySelector('[data-place=\"20\"]')"
        ".dispatchEvent(new PointerEvent('pointermove', { bubbles: true }))"
    )
    settle(browser)
    assert sentence(browser).startswith("“\u2068w20\u2069” 20 looks at")
    assert hash_of(browser)["query"] == str(query)


def test_text_by_keys_alone(browser, address):
    show(browser, f"{address}#show=text")
    for _ in range(40):
        browser.press("Tab")
        if browser.run("document.activeElement.className") == "scroller":
            break
    browser.press("ArrowRight", 4)
    assert hash_of(browser)["query"] == "3"
    browser.press("ArrowDown")
    below = int(hash_of(browser)["query"])
    assert below > 4
    browser.press("ArrowUp")
    settle(browser)
    assert hash_of(browser)["query"] == "3"
    assert shaded(browser) == until(dense_of(TEXT)[3], 0.9)
    browser.press("]")
    browser.wait("location.hash.includes('head=1')")
    browser.press("Escape")
    assert "query" not in hash_of(browser)


def test_a_long_text_draws_what_is_in_view_and_asks_for_lines(browser, address):
    show(browser, f"{address}#show=text&source={LONGER}&query=2900&share=100")
    drawn = browser.run("document.querySelectorAll('.flow [data-place]').length")
    assert 0 < drawn < 1500
    assert "2900" in browser.run("document.querySelector('.flow .anchor').textContent")
    here = {
        int(p)
        for p in browser.run(
            "[...document.querySelectorAll('.flow [data-place]')].map((o) => o.dataset.place)"
        )
    }
    assert shaded(browser) == until(dense_of(LONGER)[2900], 1) & here
    assert any("row?" in url for url in browser.requested)
    show(browser, f"{address}#show=text&source={LONGER}&key=40&way=in&share=50")
    column = dense_of(LONGER)[:, 40]
    found = until(column, 0.5)
    assert f"is looked at by {len(found)} of 3000 queries" in sentence(browser)
    assert not browser.run("document.querySelector('.strip').hidden")
    strongest = re.search(r": \S+ (\d+) (0\.\d+),", sentence(browser))
    assert strongest is not None
    assert int(strongest[1]) == int(column.argmax())
    assert float(strongest[2]) == pytest.approx(float(column.max()), abs=2e-6)


def test_tokens_of_a_text_are_text(browser, address):
    for view in ("text", "alignment"):
        show(browser, f"{address}#show={view}&source={HOSTILES}&query=7")
        texts = browser.run(
            "[...document.querySelector('.flow').querySelectorAll('[data-place]')]"
            ".map((one) => one.textContent)"
        )
        assert texts[0] == "<img src=x onerror=document.tit…"
        assert texts[2:4] == ["\\u202eabc", "\\u0000\\u001b[31m"]
        assert browser.run("document.title") == "qkv look"
        assert browser.run("document.querySelectorAll('img, main script').length") == 0


def test_an_alignment_has_a_line_for_each_link(browser, address):
    weights = dense_of(PAIR, 2, 1)
    at = f"{address}#show=alignment.text&source={PAIR}&layer=2&head=1"
    lines = "Number(document.querySelector('.columns canvas').dataset.lines)"
    show(browser, f"{at}&share=70")
    assert browser.run(lines) == sum(len(until(row, 0.7)) for row in weights)
    show(browser, f"{at}&share=70&way=in")
    assert browser.run(lines) == sum(len(until(column, 0.7)) for column in weights.mT)
    flows = (
        "[...document.querySelectorAll('.columns .flow')].map((one) => one.innerText.split(/\\s+/))"
    )
    assert browser.run(flows) == [TARGET, SOURCE]
    # Both views: queries at the left or above, keys beside or below, each clicked by itself.
    show(browser, at)
    click(browser, ".columns .flow:first-child [data-place='2']")
    browser.wait("location.hash.includes('query=2')")
    browser.mouse("Moved", 5, 5)
    settle(browser)
    keys = ".view[data-view=text] .beside:last-child"
    assert shaded(browser, keys) == until(weights[2], 0.9)
    assert shaded(browser, ".columns .flow:last-child") == until(weights[2], 0.9)
    click(browser, f"{keys} [data-place='3']")
    browser.wait("location.hash.includes('key=3')")
    assert hash_of(browser)["way"] == "in"
    browser.mouse("Moved", 5, 5)
    settle(browser)
    assert shaded(browser, ".columns .flow:first-child") == until(weights[:, 3], 0.9)


def test_of_two_sides_each_leaves_out_its_own_tokens(browser, address):
    weights = dense_of(PAIR, 2)
    at = f"{address}#show=text&source={PAIR}&layer=2&share=100&apart=left"
    above, below = (f".view[data-view=text] .beside:nth-of-type({i})" for i in (1, 2))
    show(browser, f"{at}&query=3")
    assert shaded(browser, below) == until(weights[3], 1, (0, 4))
    assert shaded(browser, above) == set()
    show(browser, f"{at}&key=2&way=in")
    assert shaded(browser, above) == until(weights[:, 2], 1, (0,))
    assert shaded(browser, below) == set()


def test_the_heads_are_sorted_and_selected(browser, address):
    show(browser, f"{address}#show=heads.map")
    heads = list(qkv.heads(CAPTURES[TEXT]))
    rows = (
        "[...document.querySelectorAll('tbody tr')]"
        ".map((row) => [...row.children].map((one) => one.textContent))"
    )
    table = browser.run(rows)
    assert [(row[0], int(row[1]), row[2], row[-1]) for row in table] == [
        (head.layer, head.number, head.role, head.because) for head in heads
    ]
    assert [row[3] for row in table] == [f"{head.figures.entropy:.2f}" for head in heads]
    assert [row[6] for row in table] == [
        f"{100 * head.figures.share['first']:.0f}" for head in heads
    ]
    click(browser, "th:nth-child(4) button")
    browser.wait("location.hash.includes('sort=-entropy')")
    ordered = sorted(heads, key=lambda head: -head.figures.entropy)
    assert [(row[0], int(row[1])) for row in browser.run(rows)] == [
        (head.layer, head.number) for head in ordered
    ]
    click(browser, "tbody tr:first-child td:nth-child(3)")
    browser.wait("document.querySelector('tbody tr:first-child').ariaSelected === 'true'")
    settle(browser)
    title = browser.run("document.querySelector('.pane h1').textContent")
    assert title.startswith(f"{ordered[0].layer} head {ordered[0].number}: ")
    browser.run(
        "document.querySelector('tbody tr:first-child td:nth-last-child(2) button').click()"
    )
    link = ordered[0].link
    browser.wait(f"location.hash.includes('query={link.query}&key={link.key}')")


def test_the_heat_of_a_patch_or_of_the_head_lies_over_the_picture(browser, address):
    weights = dense_of(PICTURE, 0, 1)
    at = f"{address}#show=image&source={PICTURE}&head=1"
    show(browser, f"{at}&query=8")
    assert f"{float(weights[8].max()):.6f}" in sentence(browser, "image")
    box = browser.run("document.querySelector('.picture canvas').getBoundingClientRect().toJSON()")
    assert box["width"] / box["height"] == pytest.approx(6 / 4, rel=0.01)
    x, y = box["x"] + box["width"] * 4.5 / 6, box["y"] + box["height"] * 2.5 / 4
    before = heat(browser)
    for kind in ("Moved", "Pressed", "Released"):
        more = {} if kind == "Moved" else {"button": "left", "clickCount": 1}
        browser.mouse(kind, round(x), round(y), **more)
    browser.wait(f"location.hash.includes('query={1 + 2 * 6 + 4}')")
    settle(browser)
    assert heat(browser) != before
    assert sentence(browser, "image").startswith("“\u20682,4\u2069” 17 looks at")
    click(browser, ".chips button")
    browser.wait("location.hash.includes('query=0')")
    settle(browser)
    show(browser, f"{at}&over=all")
    mean = weights.mean(0)
    place = int(mean.argmax())
    label = CAPTURES[PICTURE].labels(0)[1][place]
    assert f"{float(mean.max()):.6f}: “\u2068{label}\u2069” {place}." in sentence(browser, "image")
    show(browser, f"{address}#show=image&source={TEXT}")
    assert "no patches" in sentence(browser, "image")


def heat(browser: Chromium) -> list[int]:
    return browser.run(
        "(() => { const c = document.querySelector('.picture canvas'); return [...c"
        ".getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        ".filter((_, i) => i % 4001 === 0); })()"
    )


def test_the_ratio_of_two_heads(browser, address):
    at = f"{address}#beside=0.1.2.0&query=30&key=20"
    show(browser, f"{at}&ratio=beside")
    panes = "[...document.querySelectorAll('.pane h1')].map((one) => one.textContent.split(':')[0])"
    both = "layers.0 head 0 to layers.1 head 2"
    assert browser.run(panes) == ["layers.0 head 0", "layers.1 head 2", both]
    show(browser, f"{at}&ratio=alone")
    assert browser.run(panes) == [both]
    wanted = float(dense_of(TEXT)[30, 20] / dense_of(TEXT, 1, 2)[30, 20])
    said = browser.run("document.getElementById('readout').textContent")
    found = float(said.removeprefix("ratio ").partition(":")[0])
    assert found == pytest.approx(wanted, rel=1e-3)
    assert "layers.1 head 2" in browser.run("document.querySelector('.legend').textContent")
    show(browser, f"{address}#beside=0.0.0.0&ratio=alone&query=30&key=20")
    assert "ratio 1.000: query" in browser.run("document.getElementById('readout').textContent")
    show(browser, f"{address}#beside=0.0.0.0&ratio=alone&query=20&key=30")
    assert "neither has weight" in browser.run("document.getElementById('readout').textContent")
    show(browser, f"{address}#beside={OTHER}.1.0.0&ratio=alone&query=50&key=40")
    assert browser.run(panes) == ["0.qkv"]  # titles of two captures begin with their names
    wanted = float(dense_of(TEXT)[50, 40] / dense_of(OTHER, 1)[50, 40])
    said = browser.run("document.getElementById('readout').textContent")
    assert float(said.removeprefix("ratio ").partition(":")[0]) == pytest.approx(wanted, rel=1e-3)
    show(browser, f"{address}#beside={HOSTILES}.0.0.0&ratio=beside")
    assert browser.run("document.querySelector('.why').textContent") == (
        "no ratio: matrices of 60 × 60 and 8 × 8 weights have no cells in common"
    )
    assert len(browser.run(panes)) == 2


def test_which_head_has_more_is_told_by_the_colour(browser, address):
    ratio = (dense_of(TEXT) / dense_of(TEXT, 1, 2)).log2()
    ratio[ratio.isnan()] = 0  # neither has weight
    middle = (
        "(() => { const c = document.querySelector('.pane div canvas'); const x = 150 + (c.width"
        " - 150) / 2, y = 110 + (c.height - 110) / 2;"
        " return [...c.getContext('2d').getImageData(x, y, 1, 1).data]; })()"
    )
    at = f"{address}#beside=0.1.2.0&ratio=alone&zoom=60&theme=light"
    colours = {int(ratio.argmax()): [140, 62, 0], int(ratio.argmin()): [8, 64, 129]}
    for place, colour in {**colours, 59: [255, 255, 255]}.items():
        query, key = divmod(place, 60)
        show(browser, f"{at}&x={key + 0.5}&y={query + 0.5}")
        assert browser.run(middle) == [*colour, 255]


def test_views_are_shown_and_put_away(browser, address):
    show(browser, address)
    shown = "[...document.querySelectorAll('.view')].map((one) => one.dataset.view)"
    for view in ("heads", "text"):
        click(browser, f"#views [data-view={view}]")
    settle(browser)
    assert browser.run(shown) == ["map", "text", "heads"]
    click(browser, "#views [data-view=map]")
    settle(browser)
    assert browser.run(shown) == ["text", "heads"]
    assert hash_of(browser)["show"] == "text.heads"
    browser.run("history.back()")
    browser.wait(f"{shown}.length === 3")
    show(browser, f"{address}#show=text.nothing.text")
    assert browser.run(shown) == ["text"]
    click(browser, "#views [data-view=text]")
    assert browser.run(shown) == ["text"]  # one stays


@pytest.mark.parametrize(("width", "height"), [(1100, 760), (390, 844)])
def test_nothing_is_wider_than_the_page_and_no_texts_overlap(browser, address, width, height):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.send("Emulation.setDeviceMetricsOverride", **size)
    at = {
        TEXT: "show=map.text.heads&query=40&apart=left&beside=0.1.0.0&ratio=beside",
        PAIR: "show=text.alignment&layer=2&query=1",
        PICTURE: "show=map.image&query=4",
    }
    for source, state in at.items():
        show(browser, f"{address}#source={source}&{state}")
        assert browser.run("document.documentElement.scrollWidth") <= width
        assert browser.run(OVERLAPPING) == []
    browser.send("Emulation.setDeviceMetricsOverride", **{**size, "width": 1100, "height": 760})
