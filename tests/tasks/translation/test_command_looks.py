"""The command with the next best translations, word alignments and chosen looks."""

import io
import json
import sys

import pytest
import torch

from conftest import make_task
from qkv.cli.run import run
from qkv.tasks.tokens import END
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
            model.output_bias[END] = 4.0  # or it would write to the limit
        folders[name] = tmp_path_factory.mktemp(name)
        Translator(model, task.source, task.target, 60).save(folders[name])
    return folders


@pytest.fixture
def qkv(folders, capsys, monkeypatch):
    """Run a command with the Transformer: exit status, standard output, standard error without
    doubts."""

    def call(command, *arguments, stdin="", model="attends"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
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
    found = translator.translate([TEXT, "", "They"], batch=1, beam=4, n_best=3)
    expected = [
        (str(number), " ".join(one.text.split()), pytest.approx(one.score, abs=1e-5))
        for number, best in enumerate(found)
        for one in (best, *best.others)
    ]
    lines = [line.split(" ||| ") for line in output.splitlines()]
    assert (status, errors) == (0, [])
    assert [(number, text, float(score)) for number, text, score in lines] == expected
    assert all(len(score.split(".")[1]) == 6 for _, _, score in lines)
    assert len(expected) == 7


def test_links_stand_behind_the_text_and_before_the_score(qkv, translator):
    [found] = translator.translate([TEXT], batch=1, beam=2, n_best=2)
    options = "translate", "--alignments", "--beam", 2, "--batch", 1, TEXT
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
        qkv("translate", "--json", "--alignments", "--n-best", 2, "--beam", 2, "--batch", 1,
            "--layer", 1, "--when", "read", TEXT)[1]
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


PAIRS = [("We drink tea.", "我们喝茶。"), ("I sleep. They read.", "我睡觉。"), ("I", "我")]
LINES = "".join(f"{source}\t{target}\n" for source, target in PAIRS)


def test_given_pairs_are_aligned_line_by_line(qkv, translator, tmp_path):
    links = [f"{one.word_alignment()}" for one in translator.align_pairs(PAIRS)]
    expected = "".join(f"{line}\n" for line in links)
    assert qkv("align", stdin=LINES) == (0, expected, [])
    file, out = tmp_path / "pairs.tsv", tmp_path / "out.txt"
    file.write_text(LINES, encoding="utf-8")
    assert qkv("align", file, "--batch", 2, "--out", out) == (0, "", [])
    assert out.read_text() == expected
    assert qkv("align", *PAIRS[0])[1] == f"{links[0]}\n"
    assert qkv("align", file, "-", stdin=LINES)[1] == expected * 2
    (tmp_path / "I").write_text("")
    assert qkv("align", "--text", *PAIRS[2])[1] == f"{links[2]}\n"
    assert qkv("align", "\t".join(PAIRS[2]), "\t".join(PAIRS[0]))[1] == f"{links[2]}\n{links[0]}\n"
    assert qkv("align", stdin="") == (0, "", [])


def test_pairs_are_read_together(qkv, monkeypatch):
    sizes = []
    align_pairs = Translator.align_pairs

    def counting(self, pairs, batch):
        sizes.append((len(pairs), batch))
        return align_pairs(self, pairs, batch=batch)

    monkeypatch.setattr(Translator, "align_pairs", counting)
    assert qkv("align", stdin=LINES * 11)[0] == 0
    assert sizes == [(32, 32), (1, 32)]


def test_json_of_a_pair_has_its_links_and_where_it_looked(qkv, translator):
    given = translator.align(*PAIRS[0])
    aligned = given.word_alignment(layer=0, head=1)
    fields = json.loads(qkv("align", "--json", "--layer", 0, "--head", 1, *PAIRS[0])[1])
    assert (fields["source"], fields["text"]) == PAIRS[0]
    assert fields["score"] == pytest.approx(given.score)
    assert fields["source_words"] == ["We", "drink", "tea."]
    assert fields["links"] == [list(link) for link in aligned.links]
    weights = given.alignment_by(0, 1).dense()
    torch.testing.assert_close(torch.tensor(fields["alignment"]), weights, atol=1e-5, rtol=0)


def test_pairs_are_shown_and_drawn(qkv, tmp_path):
    options = "--show", "--merge-words", "--picture", tmp_path / "map.svg"
    status, output, _ = qkv("align", *options, stdin=LINES)
    assert (status, output.count("██ from 75%")) == (0, 3)
    assert "We drink tea." in " ".join(output.split())
    assert {path.name for path in tmp_path.iterdir()} == {"map.svg", "map-2.svg", "map-3.svg"}


@pytest.mark.parametrize(
    ("options", "stdin", "complaint"),
    [
        ([], "We\t我\nI\t \n", r"pair 2 must be source<TAB>target with words on both sides; got "),
        ([], "\t我\n", "pair 1 must be source<TAB>target"),
        ([], "We\t我\tI\n", "pair 1 must be source<TAB>target"),
        (["We", " "], "", "pair 1 must be source<TAB>target"),
        (["We"], "", "pair 1 must be source<TAB>target"),
        (["We", "They", "I"], "", "pair 1 must be source<TAB>target"),
        (["--text", "We"], "", "pair 1 must be source<TAB>target"),
        (["absent.tsv", "We"], "", "there is no file absent.tsv"),
        (["--layer", 2], LINES, "layer must be one of 0 to 1; got 2"),
        (["--head", 0], LINES, "--head needs --layer"),
        (["--merge-words"], LINES, "--merge-words needs --show, --picture or --json"),
        (["--show", "--json"], LINES, "--show and --json exclude each other"),
        (["--picture", "a.jpg"], LINES, "must end in .png, .svg, .pdf"),
        (["--out", "."], LINES, "--out must be a file"),
    ],
)
def test_what_is_no_pair_or_no_look_is_one_line_and_status_2(qkv, options, stdin, complaint):
    status, output, [error] = qkv("align", *options, stdin=stdin)
    assert (status, output) == (2, "")
    assert error.startswith("qkv: ")
    assert complaint in error


def test_a_pair_cannot_be_aligned_without_attention(qkv):
    status, output, [error] = qkv("align", *PAIRS[0], model="blind")
    assert (status, output) == (2, "")
    assert "this model has no attention" in error


def test_a_bad_line_leaves_the_older_file(qkv, tmp_path):
    out = tmp_path / "out.txt"
    out.write_text("older")
    assert qkv("align", "--out", out, "--batch", 1, stdin=LINES * 9 + "I\n")[0] == 2
    assert out.read_text() == "older"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
