"""The page in one file: what it holds, and in a real browser, opened from the disk."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path
from zlib import decompress

import pytest
import torch
from made import capture_of

from qkv.cli.run import run
from qkv.viewer.answers import Answers
from qkv.viewer.export import exported
from qkv.viewer.held import Held, question
from qkv.viewer.page_files import joined, page_files
from qkv.viewer.subject import Source, Subject

SHORT = capture_of(60)


def answers_of(capture, *others) -> Answers:
    return Answers(Subject([Source(f"<{i}>", one) for i, one in enumerate((capture, *others))]))


def held_in(page: str) -> dict[str, bytes]:
    """The answers of a page by their questions."""
    [text] = re.findall(r'<script type="application/json" id="answers">(.*?)</script>', page)
    told = json.loads(text)
    answers = [decompress(b64decode(one)) for one in told["answers"]]
    return {asked: answers[place] for asked, place in told["places"].items()}


def cells(answer: bytes) -> torch.Tensor:
    every, rows, columns = torch.frombuffer(bytearray(answer[4:16]), dtype=torch.int32).tolist()
    assert every == 1
    return torch.frombuffer(bytearray(answer[16:]), dtype=torch.float32).view(rows, columns)


def tile(level: int, row: int = 0, column: int = 0, head: int = 0, layer: int = 0, how="max"):
    values = {"source": 0, "layer": layer, "head": head, "entry": 0}
    return question("tile", {**values, "how": how, "level": level, "row": row, "column": column})


def test_a_short_capture_is_there_as_a_whole():
    found = exported(answers_of(SHORT))
    assert found.finest is None
    held = held_in(found.page)
    for layer in range(2):
        for head in range(3):
            dense = SHORT.calls[layer].matrix[0, head].dense()
            for how in ("max", "mean"):
                got = cells(held[tile(0, head=head, layer=layer, how=how)])
                torch.testing.assert_close(got, dense, atol=1e-7, rtol=1e-5)
    assert {name.partition("?")[0] for name in held} == {
        "about", "labels", "picture", "heads", "small", "edges", "tile",
    }  # fmt: skip


def test_what_the_page_asks_for_first_is_held_whatever_it_is():
    """Each question that needs no place: of all sources, layers, heads, entries."""
    answers = answers_of(SHORT, capture_of(8))
    held = held_in(exported(answers).page)
    for asked, answer in held.items():
        name, _, said = asked.partition("?")
        values = dict(pair.split("=") for pair in said.split("&") if pair)
        assert set(values) <= set(answers.questions[name])
        assert answers.answer(name, values) == answer
    about = json.loads(held["about?"])
    assert [source["title"] for source in about["sources"]] == ["<0>", "<1>"]
    for source in range(2):
        assert question("labels", {"source": source, "layer": 1, "entry": 0}) in held


def test_coarse_maps_of_all_heads_go_before_fine_ones_and_the_head_in_view_first():
    answers = answers_of(capture_of(600, layers=1))
    whole = held_in(exported(answers, most_bytes=10**8).page)
    small = exported(answers, "#head=1", 2_200_000)
    held = held_in(small.page)
    assert held.items() < whole.items()
    assert small.finest == 256
    for head in range(3):
        assert tile(2, head=head) in held
        assert tile(1, head=head) in whole
    # Of 600 cells a side, which is what fits a screen, all in view of the first head.
    assert all(tile(0, row, column, head=1) in held for row in range(3) for column in range(3))
    assert not any(tile(0, 2, 2, head=head) in held for head in (0, 2))


def test_what_is_in_view_of_a_long_map_is_held_and_what_is_around_it():
    answers = answers_of(capture_of(4096, layers=1))
    page = exported(answers, "#head=2&x=3000&y=3500&zoom=20", 4_000_000).page
    held = held_in(page)
    shown = cells(held[tile(0, 13, 11, head=2)])
    dense = capture_of(4096, layers=1).calls[0].matrix[0, 2]
    region = dense[13 * 256 : 14 * 256, 11 * 256 : 12 * 256]
    torch.testing.assert_close(shown, region, atol=1e-7, rtol=1e-5)
    assert tile(0, 0, 0, head=2) not in held
    assert 'data-at="#head=2&amp;x=3000&amp;y=3500&amp;zoom=20"' in page


def test_less_than_a_page_needs_is_told():
    with pytest.raises(ValueError, match="the least of this page needs more than 50 bytes"):
        exported(answers_of(SHORT), most_bytes=50)


def test_held_answers_go_by_rank_and_stay_below_their_size():
    held = Held(260)
    for rank, name in (((2, 0), "c"), ((1, 5), "b"), ((0,), "a")):
        assert held.wants(rank)
        held.add(rank, [f"{name}?"], bytes(range(ord(name), ord(name) + 60)))
    assert held.questions == {"a?", "b?"}
    assert not held.wants((2, 0))
    assert held.wants((1, 9))


def test_equal_answers_are_held_once_at_the_better_rank():
    held, same, other = Held(290), bytes(range(60)), bytes(range(100, 160))
    for rank, name in (((2, 0), "a"), ((0, 0), "b"), ((3, 0), "c"), ((1, 0), "d")):
        held.add(rank, [f"{name}?"], same)
    assert held_in(held.written()) == dict.fromkeys(("a?", "b?", "c?", "d?"), same)
    held.add((1, 5), ["e?"], other)
    assert held.dropped is None
    held.add((2, 0), ["f?"], bytes(range(200, 256)) + bytes(5))
    assert held.questions == {"a?", "b?", "c?", "d?", "e?"}


def test_layers_with_the_same_labels_hold_them_once():
    page = exported(answers_of(capture_of(8, layers=12))).page
    told = json.loads(re.findall(r'id="answers">(.*?)</script>', page)[0])
    asked = [question("labels", {"source": 0, "layer": layer, "entry": 0}) for layer in range(12)]
    assert len({told["places"][one] for one in asked}) == 1


def test_a_view_from_very_far_is_the_whole():
    page = exported(answers_of(SHORT), "#zoom=1e-320").page
    assert held_in(page).keys() == held_in(exported(answers_of(SHORT)).page).keys()


# --- one file of many


def test_modules_are_joined_behind_what_they_import():
    third = 'import { C } from "./third.js";\n'
    texts = {
        "main.js": f'import {{ a as b, Two }} from "./other.js";\n{third}b(C);\n',
        "other.js": f"{third}export async function a() {{}}\nexport class Two {{}}\n",
        "third.js": "const hidden = 1;\nexport const C = 1, D = 2; // both\n",
    }
    assert joined(texts, "main.js") == (
        "const modules = {};\n"
        'modules["third.js"] = (() => {\nconst hidden = 1;\nconst C = 1, D = 2; // both\n'
        "return { C, D };\n})();\n"
        'modules["other.js"] = (() => {\nconst { C } = modules["third.js"];\n'
        "async function a() {}\nclass Two {}\nreturn { a, Two };\n})();\n"
        'modules["main.js"] = (() => {\nconst { a: b, Two } = modules["other.js"];\n'
        'const { C } = modules["third.js"];\nb(C);\nreturn {  };\n})();\n'
    )


@pytest.mark.parametrize(
    "text", ['import x from "./b.js";\n', "export default 1;\n", "export let a = 1;\n",
             'export * from "./b.js";\n', 'import { a } from "b.js";\n']
)  # fmt: skip
def test_other_forms_are_refused(text):
    with pytest.raises(ValueError, match=r"a\.js imports or exports in a form"):
        joined({"a.js": text, "b.js": ""}, "a.js")


def test_a_circle_is_refused():
    texts = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    with pytest.raises(ValueError, match=r"a\.js imports itself, through a\.js, b\.js"):
        joined(texts, "a.js")


def test_every_file_of_the_page_stands_in_the_one():
    page = exported(answers_of(SHORT)).page
    for name, content in page_files().items():
        if name.endswith(".js"):
            assert f'modules["{name}"] = ' in page
        elif name.endswith(".css"):
            assert content.decode() in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)


# --- the command


@pytest.fixture
def file(tmp_path) -> Path:
    SHORT.save(tmp_path / "short.qkv")
    return tmp_path / "short.qkv"


def test_the_command_writes_a_page(file, capsys):
    assert run(["look", str(file), "--export", str(file.with_name("page.html"))]) == 0
    assert capsys.readouterr().out == ""
    assert tile(0) in held_in(file.with_name("page.html").read_text())


def test_what_is_left_out_is_told(tmp_path, capsys):
    capture_of(1200, layers=1).save(tmp_path / "long.qkv")
    command = ["look", str(tmp_path / "long.qkv"), "--export", str(tmp_path / "page.html")]
    assert run([*command, "--megabytes", "3"]) == 0
    assert "holds maps of 256 cells a side of all heads" in capsys.readouterr().err
    assert (tmp_path / "page.html").stat().st_size < 3_100_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--export", "page.txt"], "--export: the file's name must end in .html"),
        (["--export", "nowhere/page.html"], "--export: there is no folder 'nowhere'"),
        (["--export", "page.html", "--at", "#head=7"], "'#head=7' shows nothing: layers.0 has 3"),
        (["--export", "page.html", "--at", "zoom=0"], "zoom must be a number; got '0'"),
        (["--export", "page.html", "--no-open"], "--port and --no-open are of a page that is ser"),
        (["--export", "page.html", "--port", "81"], "--port and --no-open are of a page that is"),
        (["--export", "page.svg", "--megabytes", "3"], "--megabytes needs --export to a .html"),
        (["--megabytes", "3"], "--megabytes needs --export to a .html file"),
        (["--at", "#how=min"], "how must be one of max, mean; got 'min'"),
        (["--at", "#beside=1.2"], "beside must be source.layer.head.entry; got '1.2'"),
    ],
)
def test_mistakes_are_told(file, options, said, capsys, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert run(["look", str(file), *options]) != 0
    assert said in capsys.readouterr().err
    assert not Path("page.html").exists()
