"""The command with the next best translations, word alignments and chosen looks."""

import io
import json
import sys

import pytest
import torch

from conftest import make_task
from qkv.cli.run import run
from qkv.tasks.translation import Translator

SIZES = {
    "encoder": "attention", "decoder": "attention", "decoder_layers": 2, "heads": 2, "feeding": None
}  # fmt: skip
TEXT = "We sleep. I drink tea."


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of a Transformer, and of a model without attention, that have learnt nothing."""
    torch.manual_seed(3)
    folders = {}
    for name, sizes in (("attends", SIZES), ("blind", {"score": "none"})):
        task = make_task(**sizes)
        model = task.model()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= 2
        folders[name] = tmp_path_factory.mktemp(name)
        Translator(model, task.source, task.target, 60).save(folders[name])
    return folders


@pytest.fixture
def qkv(folders, capsys, monkeypatch):
    """Run a command with the Transformer: exit status, standard output, standard error without
    doubts."""

    def call(command, *arguments, stdin="", model="attends"):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        status = run([command, "--model", str(folders[model]), *map(str, arguments)])
        output, errors = capsys.readouterr()
        lines = [line for line in errors.splitlines() if "doubtful" not in line]
        return status, output, lines

    return call


@pytest.fixture(scope="module")
def translator(folders):
    return Translator.load(folders["attends"])


def test_the_best_come_as_lines_that_tools_read(qkv, translator):
    status, output, errors = qkv("translate", "--n-best", 3, "--beam", 4, stdin=f"{TEXT}\n\nThey\n")
    expected = []
    for number, found in enumerate(
        translator.translate([TEXT, "", "They"], batch=1, beam=4, n_best=3)
    ):
        for one in (found, *found.others):
            expected.append(f"{number} ||| {' '.join(one.text.split())} ||| {one.score:.6f}")
    assert (status, output.splitlines(), errors) == (0, expected, [])
    assert len(expected) == 7


def test_links_stand_behind_the_text_and_before_the_score(qkv, translator):
    [found] = translator.translate([TEXT], batch=1, beam=2, n_best=2)
    options = "translate", "--alignments", "--beam", 2, TEXT
    assert qkv(*options)[1] == f"{found.text} ||| {found.word_alignment()}\n"
    lines = qkv(*options, "--n-best", 2)[1].splitlines()
    assert lines == [
        f"0 ||| {one.text} ||| {one.word_alignment()} ||| {one.score:.6f}"
        for one in (found, *found.others)
    ]


def test_json_has_the_others_the_words_and_their_links(qkv, translator):
    [found] = translator.translate([TEXT], batch=1, beam=2, n_best=2)
    aligned = found.word_alignment(layer=1, when="read")
    fields = json.loads(
        qkv("translate", "--json", "--alignments", "--n-best", 2, "--beam", 2, "--layer", 1,
            "--when", "read", TEXT)[1]
    )  # fmt: skip
    assert fields["source_words"] == list(aligned.source) == TEXT.split()
    assert fields["target_words"] == list(aligned.target)
    assert fields["links"] == [list(link) for link in aligned.links]
    [other] = fields["others"]
    assert (other["text"], other["score"]) == (found.others[0].text, found.others[0].score)
    links = found.others[0].word_alignment(layer=1, when="read").links
    assert other["links"] == [list(link) for link in links]
    for one, sentence in zip(fields["sentences"], found.sentences, strict=True):
        assert one["others"][0]["text"] == sentence.others[0].text
        weights = sentence.alignment_by(1, None, "read").dense()
        torch.testing.assert_close(torch.tensor(one["alignment"]), weights, atol=1e-5, rtol=0)
    assert "others" not in json.loads(qkv("translate", "--json", TEXT)[1])


def test_segments_need_the_extra(qkv, monkeypatch):
    options = "translate", "--alignments", "--segment", "--json", "They live in Beijing now."
    monkeypatch.setitem(sys.modules, "rjieba", None)
    status, output, [error] = qkv(*options)
    assert (status, output) == (1, "")
    assert error.endswith("(the extra `segmentation`): pip install rjieba")
    monkeypatch.undo()
    rjieba = pytest.importorskip("rjieba")
    fields = json.loads(qkv(*options)[1])
    assert fields["target_words"] == rjieba.cut(fields["text"])


def test_a_head_is_shown_and_drawn(qkv, translator, tmp_path):
    [found] = translator.translate(["We sleep."])
    shown = set()
    for options in ([], ["--layer", 0], ["--layer", 1, "--head", 0], ["--layer", -1, "--head", 0],
                    ["--layer", 1, "--head", 0, "--when", "read"]):  # fmt: skip
        status, output, _ = qkv("translate", "--show", *options, "We sleep.")
        assert (status, output.splitlines()[0]) == (0, found.text)
        shown.add(output)
    assert len(shown) == 4
    drawn = tmp_path / "drawn.svg", tmp_path / "own.svg"
    qkv("translate", "--picture", drawn[0], "--layer", 1, "--head", 1, "We sleep.")
    found.picture(drawn[1], layer=1, head=1)
    sizes = [path.stat().st_size for path in drawn]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_what_would_part_a_line_within_a_text_is_written_as_moses_does(qkv, monkeypatch):
    monkeypatch.setattr(Translator, "_text", lambda *_: "a ||| b\nc")
    assert qkv("translate", "--n-best", 1, "They")[1].startswith("0 ||| a &#124;&#124;&#124; b c |")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--n-best", 0], "--n-best"),
        (["--n-best", 6], "--n-best must be at most --beam; got 6 and 5"),
        (["--head", 1, "--show"], "--head needs --layer"),
        (["--layer", 2, "--show"], "layer must be one of 0 to 1; got 2"),
        (["--layer", 0, "--head", 2, "--alignments"], "head must be one of 0 to 1; got 2"),
        (["--layer", "x", "--show"], "--layer"),
        (["--when", "later", "--json"], "--when"),
        (["--layer", 1], "--layer, --head and --when need --show, --picture, --json or --align"),
        (["--segment"], "--segment needs --alignments"),
    ],
)
def test_a_look_or_a_count_that_is_none_is_one_line_and_status_2(qkv, options, complaint):
    status, output, [error] = qkv("translate", *options, "They")
    assert (status, output) == (2, "")
    assert error.startswith("qkv: ")
    assert complaint in error


@pytest.mark.parametrize("options", [["--alignments"], ["--layer", 0, "--show"]])
def test_a_model_without_attention_is_told_before_any_work(qkv, options):
    status, output, [error] = qkv("translate", *options, "They", model="blind")
    assert (status, output) == (2, "")
    assert "this model has no attention" in error
    assert qkv("translate", "--n-best", 2, "They", model="blind")[0] == 0
