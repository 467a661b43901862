import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import fake_translator
import pytest

from qkv.cli.inputs import count_of_texts
from qkv.cli.run import run

MAP_OF_PIECES = """\
爱动物
   love anim als  ⏎
爱 ████  ·    ·  ▒▒▒
动  ·   ▒▒▒▒ ▒▒▒ ▒▒▒
物  ·   ▒▒▒▒ ▒▒▒ ▒▒▒
 ⏎  ·    ·    ·  ███

   ░░ from 10%  ▒▒ from 25%  ▓▓ from 50%  ██ from 75%

"""
MAP_OF_WORDS = """\
爱动物
   love animals  ⏎
爱 ████    ·    ▒▒▒
动  ·   ███████ ▒▒▒
物  ·   ███████ ▒▒▒
 ⏎  ·      ·    ███

   ░░ from 10%  ▒▒ from 25%  ▓▓ from 50%  ██ from 75%

"""


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    monkeypatch.setitem(sys.modules, "qkv.tasks.translation", fake_translator.module())


@pytest.fixture
def qkv(capsys, monkeypatch):
    """Run the command: exit status, standard output, standard error."""

    def call(*arguments, stdin=""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
        status = run(["translate", *map(str, arguments)])
        return status, *capsys.readouterr()

    return call


def test_one_translation_a_line(qkv):
    assert qkv("I love", "love animals") == (0, "我爱\n爱动物\n", "")


def test_lines_come_from_standard_input_and_an_empty_line_stays_one(qkv):
    assert qkv(stdin="I love\n\n  \nanimals") == (0, "我爱\n\n\n动物\n", "")


def test_files_are_read_line_by_line(qkv, tmp_path):
    file = tmp_path / "s.txt"
    file.write_text("I love\n\nanimals\n")
    assert qkv("love", file, "-", stdin="I\n") == (0, "爱\n我爱\n\n动物\n我\n", "")
    assert qkv("--text", "-", "I") == (0, "-\n我\n", "")
    status, output, errors = qkv("love", tmp_path / "absent.txt")
    assert (status, output) == (2, "")
    assert f"there is no file {tmp_path / 'absent.txt'}; with --text" in errors


def test_batches_keep_the_order(qkv, monkeypatch):
    sizes = []
    translate = fake_translator.Translator.translate

    def counting(translator, texts, **options):
        sizes.append(len(texts))
        return translate(translator, texts, **options)

    monkeypatch.setattr(fake_translator.Translator, "translate", counting)
    assert qkv("--batch", 2, stdin="I\n\nlove\nanimals\nI\n") == (0, "我\n\n爱\n动物\n我\n", "")
    assert sizes == [2, 2, 1]


def test_no_line_at_all_is_no_translation(qkv):
    assert qkv(stdin="") == (0, "", "")


def test_show_prints_where_each_token_looked(qkv):
    assert qkv("--show", "love animals") == (0, MAP_OF_PIECES, "")


def test_merged_words_have_the_sum_of_their_pieces(qkv):
    assert qkv("--show", "--merge-words", "love animals") == (0, MAP_OF_WORDS, "")


def test_show_of_an_empty_line_is_an_empty_line(qkv):
    assert qkv("--show", "") == (0, "\n", "")


def test_beam_and_length_penalty_reach_the_search(qkv):
    status, output, errors = qkv("--json", "--beam", 3, "--length-penalty", 1.5, "love")
    assert (status, errors) == (0, "")
    assert json.loads(output)["score"] == pytest.approx(-0.45)


@pytest.mark.parametrize("option", ["--json", "--text"])
def test_bytes_that_are_no_characters_are_replaced(qkv, option, tmp_path):
    status, output, errors = qkv(option, "love \udce9")
    assert (status, errors) == (0, "")
    if option == "--json":
        assert json.loads(output)["source"] == "love \ufffd"
        assert qkv("--json", "--out", tmp_path / "x", "love \udce9")[0] == 0


def test_json_is_one_object_a_line(qkv):
    status, output, errors = qkv("--json", "--beam", 3, stdin="love animals\n\nI\n")
    assert (status, errors) == (0, "")
    first, empty, last = map(json.loads, output.splitlines())
    assert first == {
        "source": "love animals",
        "text": "爱动物",
        "score": pytest.approx(-0.3),
        "doubt": [],
        "sentences": [
            {
                "source": "love animals",
                "text": "爱动物",
                "source_tokens": ["love", "anim", "als", "⏎"],
                "tokens": ["爱", "动", "物", "⏎"],
                "alignment": [[0.75, 0, 0, 0.25], *[[0, 0.375, 0.375, 0.25]] * 2, [0, 0, 0, 1]],
                "score": pytest.approx(-0.3),
                "doubt": [],
            }
        ],
    }
    assert empty == {"source": "", "text": "", "score": 0.0, "doubt": [], "sentences": []}
    assert last["text"] == "我"


def test_json_has_merged_words_when_asked(qkv):
    _, output, _ = qkv("--json", "--merge-words", "love animals")
    [sentence] = json.loads(output)["sentences"]
    assert sentence["source_tokens"] == ["love", "animals", "⏎"]
    assert sentence["alignment"][1] == [0, 0.75, 0.25]


def test_a_character_of_two_pieces_is_one_word(qkv):
    for options, tokens in (([], ["I", "🍕", "🍕", "⏎"]), (["--merge-words"], ["I", "🍕", "⏎"])):
        [sentence] = json.loads(qkv("--json", *options, "I 🍕")[1])["sentences"]
        assert sentence["source_tokens"] == tokens


def test_json_prints_characters_not_escapes(qkv):
    assert "爱" in qkv("--json", "love")[1]


def test_a_text_of_sentences_shows_each(qkv, tmp_path):
    _, output, _ = qkv("--show", "--picture", tmp_path / "map.svg", "a;b c;;d")
    assert output.splitlines()[0] == "abcd"
    assert output.count("██ from 75%") == 3
    assert {path.name for path in tmp_path.iterdir()} == {"map.svg", "map-2.svg", "map-3.svg"}
    _, output, _ = qkv("--json", "love;I love")
    sentences = json.loads(output)["sentences"]
    assert [(one["text"], len(one["alignment"])) for one in sentences] == [("爱", 2), ("我爱", 3)]


def test_of_a_text_of_very_many_sentences_the_first_are_shown(qkv):
    status, output, errors = qkv("--show", ";".join(["love"] * 1000))
    assert status == 0
    assert output.splitlines()[0] == "爱" * 1000
    assert output.count("██ from 75%") == 10
    assert errors == "qkv: a text of 1000 sentences; the first 10 are shown\n"
    assert qkv(";".join(["love"] * 1000)) == (0, "爱" * 1000 + "\n", "")


def test_pictures_of_several_texts_are_numbered(qkv, tmp_path):
    assert qkv("--picture", tmp_path / "map.png", "a", "", "b", "c") == (0, "a\n\nb\nc\n", "")
    assert {path.name for path in tmp_path.iterdir()} == {"map.png", "map-2.png", "map-3.png"}
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_model_without_attention_translates_but_has_nothing_to_show(qkv, tmp_path):
    (tmp_path / "config.json").write_text('{"format": "qkv translator 1"}')
    assert qkv("--model", tmp_path, "love") == (0, "爱\n", "")
    status, output, errors = qkv("--model", tmp_path, "--show", "love")
    assert (status, output) == (1, "爱\n")
    assert errors == "qkv: translate: this model has no attention, so there is nothing to show\n"
    [sentence] = json.loads(qkv("--model", tmp_path, "--json", "love")[1])["sentences"]
    assert sentence["alignment"] is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--picture", "map.jpg"], r"must end in .png, .svg, .pdf; got 'map.jpg'"),
        (["--picture", "nowhere/map.png"], "there is no folder 'nowhere'"),
        (["--beam", "0"], "--beam"),
        (["--beam", "many"], "--beam"),
        (["--length-penalty", "-1"], "--length-penalty"),
        (["--show", "--json"], "--show and --json exclude each other"),
        (["--show", "--out", "out.txt"], "--show and --out exclude each other"),
        (["--out", "."], "--out must be a file; . is a folder"),
        (["--out", "nowhere/out.txt"], "--out: there is no folder 'nowhere'"),
        (["--merge-words"], "--merge-words needs --show, --picture or --json"),
        (["--shwo"], "No such option: --shwo"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2_before_any_work(
    qkv, monkeypatch, arguments, complaint
):
    def load(path):
        raise AssertionError("loaded a model although the options are wrong")

    monkeypatch.setattr(fake_translator.Translator, "load", load)
    status, output, errors = qkv(*arguments, "love")
    assert (status, output) == (2, "")
    assert complaint in errors
    assert errors.startswith("qkv: ")
    assert errors.count("\n") == 1


def test_an_unknown_model_folder_is_named(qkv, tmp_path):
    status, output, errors = qkv("--model", tmp_path / "nope", "love")
    assert (status, output) == (2, "")
    said = "no such folder, and no model that ships (en-zh, en-zh-recurrent, images, reviews)"
    assert errors == f"qkv: translate: {tmp_path / 'nope'}: {said}\n"


def test_a_model_of_another_kind_is_told_what_it_is(qkv):
    status, output, errors = qkv("--model", "reviews", "love")
    assert (status, output) == (1, "")
    assert errors == "qkv: translate: reviews is a text classifier, not a translator\n"


def test_what_is_doubtful_is_said_on_standard_error_and_in_json(qkv):
    status, output, errors = qkv("I love;I 3 " + "animals " * 20)
    assert (status, output[:3]) == (0, "我爱我")
    assert errors == f"qkv: doubtful (numbers lost): {'I 3 ' + 'animals ' * 20:.59}…\n"
    fields = json.loads(qkv("--json", "I love;I 3;animals 4")[1])
    assert fields["doubt"] == ["numbers lost"]
    assert [one["doubt"] for one in fields["sentences"]] == [[], ["numbers lost"], ["numbers lost"]]


def test_a_file_is_translated_into_a_file_and_what_is_doubtful_counted(qkv, tmp_path):
    book, out = tmp_path / "book.txt", tmp_path / "book.zh.txt"
    book.write_text("I love;I 3\n\nanimals\n" * 30)
    out.write_text("older")
    status, output, errors = qkv(book, "--out", out)
    assert (status, output) == (0, "")
    assert out.read_text(encoding="utf-8") == "我爱我3\n\n动物\n" * 30
    assert errors == ("qkv: 30 of 90 sentences are doubtful (numbers lost 30); --json says which\n")
    assert {path.name for path in tmp_path.iterdir()} == {"book.txt", "book.zh.txt"}
    assert qkv("--json", "--out", out, "love")[1:] == ("", "")
    assert json.loads(out.read_text(encoding="utf-8"))["text"] == "爱"


def test_a_file_that_is_read_is_not_replaced(qkv, tmp_path, monkeypatch):
    book, link = tmp_path / "book.txt", tmp_path / "link.txt"
    book.write_text("love\n")
    link.symlink_to(book)
    monkeypatch.chdir(tmp_path)
    for out in (book, "book.txt", link):
        status, output, errors = qkv("love", book, "--out", out)
        assert (status, output) == (2, "")
        assert f"--out: {out} is read too; give another file" in errors
    assert book.read_text() == "love\n"
    assert qkv("--text", "book.txt", "--out", "book.txt")[0] == 0  # a text, so nothing is read


def test_what_is_no_file_is_written_into(qkv, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    plain = qkv("love")[1]
    assert qkv("love", "--out", "/dev/null")[0] == 0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as reader:
        read = reader.submit(pipe.read_text, encoding="utf-8")
        assert qkv("love", "--out", "pipe")[0] == 0
        assert read.result() == plain
    assert pipe.is_fifo()


def test_a_translation_that_is_broken_off_leaves_the_older_file(qkv, tmp_path):
    out = tmp_path / "out.txt"
    out.write_text("older")
    status, _, errors = qkv("--batch", 1, "--out", out, "I", "interrupt")
    assert (status, errors) == (130, "qkv: interrupted\n")
    assert out.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_full_disk_is_named_and_leaves_the_older_file(qkv, tmp_path, monkeypatch):
    out = tmp_path / "out.txt"
    out.write_text("older")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    status, _, errors = qkv("--out", out, "I")
    assert (status, errors) == (1, f"qkv: cannot write {out}: No space left on device\n")
    assert out.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_a_long_file_is_read_as_it_is_written(qkv, tmp_path, monkeypatch):
    out, seen = tmp_path / "out.txt", []
    translate = fake_translator.Translator.translate

    def groups(*arguments, **options):
        for number in range(0, 100, 20):
            assert len(seen) == number // 4  # the last group was answered
            yield [f"{number + n}" for n in range(20)]

    def watching(translator, texts, **options):
        seen.append(int(texts[0]))
        assert len([*tmp_path.glob(".out.txt.*")]) == 1
        assert len(texts) == 4
        return translate(translator, texts, **options)

    monkeypatch.setattr("qkv.cli.translate.groups_of", groups)
    monkeypatch.setattr(fake_translator.Translator, "translate", watching)
    assert qkv("-", "--out", out, "--batch", 4)[0] == 0
    assert sorted(seen) == [*range(0, 100, 4)]
    assert out.read_text().count("\n") == 100


def test_input_and_output_are_named_files(qkv, tmp_path):
    book, out = tmp_path / "book.txt", tmp_path / "out.txt"
    book.write_text("I love\n\nanimals\n")
    assert qkv("--input", book, "--input", book, "--output", out, "--threads", 1)[0] == 0
    assert out.read_text() == "我爱\n\n动物\n" * 2
    assert qkv("--input", book, "--text")[1] == "我爱\n\n动物\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--input", "book.txt"), "--input: there is no file 'book.txt'"),
        (("--input", "."), "--input: there is no file '.'"),
        (("--input", "book.txt", "love"), "--input takes the place of texts"),
        (("--threads", 0, "love"), "threads"),
    ],
)
def test_a_mistake_about_input_or_threads_is_one_line(qkv, options, complaint):
    status, output, error = qkv(*options)
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert complaint in error


def test_how_many_texts_there_are_is_known_where_they_can_be_counted(tmp_path):
    book = tmp_path / "book.txt"
    book.write_text("a\nb\nc")
    assert count_of_texts([str(book), "love", str(book)], literal=False) == 7
    assert count_of_texts([str(book), "love"], literal=True) == 2
    assert count_of_texts([str(book), "-"], literal=False) is None
