"""What the arguments of commands that answer texts stand for."""

import io
import os
import threading

import pytest
import typer

from qkv.cli.inputs import groups_of, texts_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the command runs: a text file without and one with an ending, and a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.txt").write_bytes("\ufeffone\r\n\ntwo\N{LINE SEPARATOR}too".encode())
    (tmp_path / "notes").write_text("three\n")
    (tmp_path / "books").mkdir()
    return tmp_path


def texts(*arguments, **options):
    return list(texts_of(arguments, "translate", **options))


def test_a_text_is_itself():
    for text in ("a text", "", " ", "x" * 5000, "with\0null", "Read it. txt", "see notes.txt now",
                 "Wonderful.", "Well...", "3.14", "U.S.", "and/or", "1.5/5", "他来了.好",
                 "x/" * 3000, "books/a b.jpg"):  # fmt: skip
        assert texts(text) == [text]


def test_a_file_is_read_line_by_line(folder):
    lines = ["one", "", "two\N{LINE SEPARATOR}too"]
    assert texts("r.txt") == lines
    assert texts("a", "r.txt", str(folder / "notes"), "b") == ["a", *lines, "three", "b"]


def test_a_dash_is_standard_input(folder, monkeypatch):
    lines = b"four\nr.txt\n-\nbooks\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines), "utf-8"))
    assert texts("a", "-", "b") == ["a", "four", "r.txt", "-", "books", "b"]


def test_lines_that_are_there_come_together(folder, monkeypatch):
    lines = io.BytesIO("\ufeff一\r\n二\n\n三\r四".encode())
    lines.read1 = lambda size, read=lines.read1: read(7)  # a character may be cut in two
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(lines, "utf-8-sig"))
    found = [list(group) for group in groups_of(["a", "b", "-", "c"], "translate")]
    assert [found[0], found[-1]] == [["a", "b"], ["c"]]
    assert [line for group in found[1:-1] for line in group] == ["一", "二", "", "三", "四"]
    assert len(found) > 4
    assert [*groups_of(["a", "-"], "translate", literal=True)] == [["a", "-"]]


def test_lines_come_as_they_are_written(folder):
    os.mkfifo("pipe")
    found = texts_of(["pipe"], "translate")
    written = threading.Event()

    def write():
        with open("pipe", "w") as pipe:
            print("first", file=pipe, flush=True)
            assert written.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert next(found) == "first"
    finally:
        written.set()
        writer.join()


def test_bytes_that_are_no_characters_are_replaced_in_texts_and_not_in_names(folder, monkeypatch):
    assert texts("caf\udce9 a") == texts("caf\udce9 a", literal=True) == ["caf\ufffd a"]
    os.mkdir(b"caf\xe9")
    (folder / "caf\udce9" / "a.txt").write_text("inside\n")
    assert texts("caf\udce9/a.txt") == ["inside"]
    lines = io.BytesIO(b"\xe9 one\ncaf\xe9/a.txt\ncaf\xe9")
    stream = io.TextIOWrapper(lines, "utf-8", errors="surrogateescape")
    monkeypatch.setattr("sys.stdin", stream)
    assert texts("-") == ["\ufffd one", "caf\udce9/a.txt", "caf\udce9"]
    assert texts("books/a b\udce9") == ["books/a b\ufffd"]


def test_literally_everything_is_a_text(folder):
    arguments = ["r.txt", "-", "books", "absent.txt", "text"]
    assert texts(*arguments, literal=True) == arguments


def test_others_stand_for_what_they_give(folder):
    def others(argument):
        return ["a.png", "r.txt"] if argument == "books" else []

    assert texts("notes", "books", others=others) == ["three", "a.png", "r.txt"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("absent.txt", "there is no file absent.txt; with --text it is a text"),
        ("no/where.TSV", "there is no file no/where.TSV; with --text it is a text"),
        ("cat.jgp", "there is no file cat.jgp; with --text it is a text"),
        ("cat.pn", "there is no file cat.pn; with --text it is a text"),
        ("books/cat", "there is no file books/cat; with --text it is a text"),
        ("./cat", "there is no file ./cat; with --text it is a text"),
        ("books", "books is a folder; with --text it is a text"),
    ],
)
def test_a_name_of_nothing_is_told_before_anything_is_read(folder, argument, message):
    with pytest.raises(typer.BadParameter) as mistake:
        texts_of(["notes", argument], "translate")
    assert mistake.value.message == message


def test_a_file_that_is_no_text_is_named(folder):
    (folder / "bad.txt").write_bytes(b"one\n\xff\xfe\n")
    with pytest.raises(ValueError, match=r"translate: bad.txt is not UTF-8 text"):
        texts("bad.txt")
