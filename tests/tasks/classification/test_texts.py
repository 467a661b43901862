"""Labelled texts: reading, splitting, learning, and what the classifier says."""

import gzip
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from small import GOOD, LINES, TEXT_SIZES, train_texts, write_texts

from qkv.tasks.classification import TextLabeller
from qkv.tasks.classification.accuracy import Accuracy
from qkv.tasks.classification.labels import counted, numbered
from qkv.tasks.classification.text.options import Data, Options
from qkv.tasks.classification.text.reading import LabelledText, read_texts, split_texts
from qkv.tasks.classification.text.task import TextTask
from qkv.tasks.classification.text.training import evaluate, train_text_classifier
from qkv.tasks.shares import sentence_share
from qkv.tasks.trainer.run import train
from qkv.tasks.trainer.settings import Settings


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """The folder of a classifier that has learnt the toy texts, and its run."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("learnt")
    path = write_texts(folder / "data.tsv")
    train_texts(path, folder / "model", epochs=9, learning_rate=0.02, warmup=5)
    return folder / "model"


@pytest.fixture
def labeller(learnt):
    return TextLabeller.load(learnt)


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz"])
def test_both_forms_of_line_are_read_also_compressed(tmp_path, suffix):
    content = "neg\t0_3\tOne\u2028two. \r\n\npos\t1_8\tThree.\n".encode()
    path = tmp_path / f"data{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    file = read_texts(path)
    assert file.texts == [LabelledText("neg", "One\u2028two."), LabelledText("pos", "Three.")]
    assert (file.skipped, file.first_skipped) == (0, None)
    path = write_texts(tmp_path / "short.tsv", ["neg\tOne.", "pos\tTwo."])
    assert read_texts(path).texts == [LabelledText("neg", "One."), LabelledText("pos", "Two.")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"neg\tone\nno label\n", r"line 2 is not label<TAB>text, .* \(1 of 2 lines"),
        (b"neg\tone\npos\t \n", "line 2 is not label<TAB>text, or its text is empty"),
        (b"neg\tone\n\ttwo\n", "line 2 is not"),
        (b"neg\t1\tone\npos\ttwo\n", "line 2 is not label<TAB>id<TAB>text"),
        (b"\n\n", "no labelled texts"),
        (b"neg\t\xff\n", r"not UTF-8 text \(byte 4\)"),
    ],
)
def test_lines_that_are_no_labelled_text_are_refused(tmp_path, content, message):
    path = tmp_path / "data.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_texts(path)


def test_swapped_columns_are_said_briefly(tmp_path):
    path = write_texts(tmp_path / "a.tsv", [f"{'long ' * 99}{n}\t{n % 2}" for n in range(99)])
    with pytest.raises(ValueError, match="the columns seem swapped: there are 99 ") as caught:
        read_texts(path)
    assert len(str(caught.value)) < 400


def test_labels_are_counted_before_training(tmp_path):
    path = write_texts(tmp_path / "data.tsv", ["label\ttext", *LINES])
    said = []
    train_texts(path, tmp_path / "out", steps=1, say=said.append)
    assert "labels: pos 18, neg 18, label 1" in said or "labels: neg 18, pos 18, label 1" in said


def test_an_unknown_label_is_told_with_some_of_those_known():
    with pytest.raises(ValueError, match=r"label 'x' is not among .*: 0, 1, .* and 980 more$"):
        numbered(["x"], [str(n) for n in range(1000)], "data")
    many = counted(str(n) for n in range(1000))
    assert "... 980 more ..." in many
    assert len(many) < 300


def test_a_few_empty_reviews_are_skipped_and_said(tmp_path):
    path = write_texts(tmp_path / "data.tsv", [*LINES * 4, "pos\t"])
    said = []
    train_texts(path, tmp_path / "out", steps=1, say=said.append)
    assert said[0] == f"{path}: 1 skipped, the first is line {4 * len(LINES) + 1}"


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "data.tsv.gz"
    path.write_bytes(gzip.compress(b"neg\tone\n" * 99)[:-12])
    with pytest.raises(ValueError, match=r"data\.tsv\.gz: cannot be decompressed"):
        read_texts(path)


def test_an_archive_out_of_all_proportion_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("qkv.ground.reading._FREE", 2**20)
    path = tmp_path / "data.tsv.gz"
    path.write_bytes(gzip.compress(b"neg\tone\n" * 2**18))
    refused = rf"data\.tsv\.gz: it has {path.stat().st_size:,} bytes and stands for more than"
    with pytest.raises(ValueError, match=refused):
        read_texts(path)
    path.write_bytes(gzip.compress(b"neg\tone\n" * 2**16) * 2)  # of two parts
    assert len(read_texts(path).texts) == 2**17


def test_what_is_validated_on_is_trained_on_nowhere(tmp_path):
    file = read_texts(write_texts(tmp_path / "a.tsv", [f"x\tText {n}." for n in range(400)] * 2))
    given = read_texts(write_texts(tmp_path / "b.tsv", ["x\ttext 7", "y\tText 8!"]))
    train, held = split_texts([file], [given], 0.25)
    words = [{one.text.lower().strip(".!") for one in part} for part in (train, held)]
    assert not words[0] & words[1]
    assert {"text 7", "text 8"} <= words[1]
    assert len(words[0] | words[1]) == 400
    assert 70 < len(words[1]) < 130


def test_a_label_that_is_held_out_as_a_whole_is_learnt_instead(tmp_path):
    lines = [f"{'ab'[n % 2]}\tText {n}." for n in range(400)]
    plain = split_texts([read_texts(write_texts(tmp_path / "a.tsv", lines))], [], 0.25)
    out = plain[1][0].text  # is drawn, whatever its label
    rare = [f"c\t{out}", *(line for line in lines if not line.endswith(f"\t{out}"))]
    train, held = split_texts([read_texts(write_texts(tmp_path / "b.tsv", rare))], [], 0.25)
    assert (train, held) == ([LabelledText("c", out), *plain[0]], plain[1][1:])
    copied = read_texts(write_texts(tmp_path / "c.tsv", [*lines, f"c\t{out.upper()}"]))
    train, held = split_texts([copied], [], 0.25)
    assert sorted(train) == sorted([*plain[0], plain[1][0], LabelledText("c", out.upper())])
    assert held == plain[1][1:]


def test_a_header_that_is_drawn_is_a_label_that_is_there_once(tmp_path):
    assert sentence_share("body") < 0.3  # which `train_texts` holds out
    path = write_texts(tmp_path / "data.tsv", ["category\tbody", *LINES])
    said = []
    train_texts(path, tmp_path / "out", steps=1, say=said.append)
    assert any(one.startswith("labels: ") and ", category 1" in one for one in said)
    assert TextLabeller.load(tmp_path / "out").labels == ["category", "neg", "pos"]


def test_a_label_of_a_validation_file_that_is_not_learnt_is_told_with_the_file(tmp_path):
    path = write_texts(tmp_path / "data.tsv")
    files = [write_texts(tmp_path / "good.tsv", LINES[:2]),
             write_texts(tmp_path / "bad.tsv", ["pos\tWell", "new\tA film"])]  # fmt: skip
    for data in (Data([path], files), Data([path], files, 0.3)):
        with pytest.raises(ValueError, match=r"bad\.tsv: the label 'new' is not among those .*: "):
            train_text_classifier(
                data, tmp_path / "out", Settings(steps=1), Options(pieces=300), TEXT_SIZES,
                say=[].append,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("validation", "share", "expected"), [([], None, 0.1), (["v"], None, 0.0), (["v"], 0.2, 0.2)]
)
def test_a_share_is_validated_on_unless_files_are_given(validation, share, expected):
    assert Data([Path("t")], validation, share).share == expected


def task(train, validation, **options):
    return TextTask(train, validation, Options(pieces=300, **options), TEXT_SIZES)


def test_labels_that_cannot_be_learnt_are_said():
    one, other = LabelledText("a", "text one"), LabelledText("b", "text two")
    with pytest.raises(ValueError, match="all texts have the same label, 'a'"):
        task([one], [one])
    with pytest.raises(ValueError, match=r"validation: the label 'c' is not among those .*: a, b"):
        task([one, other], [LabelledText("c", "text")])
    with pytest.raises(ValueError, match="leaves no text to validate on"):
        task([one, other], [])
    with pytest.raises(ValueError, match="leaves no text to train on"):
        task([], [one])


def test_texts_are_cut_where_it_is_asked_for_and_it_is_said(tmp_path):
    texts = [LabelledText("a", "one two three"), LabelledText("b", "one two three four")]
    assert task(texts, texts).cut == 0
    cut = task(texts, texts, longest=3)
    assert cut.cut == 1
    assert cut.train[0] == cut.train[1]
    train(cut, tmp_path, Settings(steps=1), quiet=True)
    labeller = TextLabeller.load(tmp_path)
    short, long = labeller.classify(["one two three", "one two three four five"])
    assert (long.words, long.left_out, short.left_out) == (("one", "two", "three"), 2, 0)
    assert long.probability == short.probability


def test_it_learns_and_looks_at_the_words_that_decide(labeller):
    lines = [line.split("\t") for line in LINES]
    found = labeller.classify([text for _, text in lines])
    assert [one.label for one in found] == [label for label, _ in lines]
    for one in found:
        assert one.words == tuple(one.input.split())
        assert one.weights.shape == (len(one.words),)
        assert 0 < float(one.weights.sum()) <= 1 + 1e-5
    chosen = [one.words[int(one.weights.argmax())] for one in found if one.label == "pos"]
    assert sum(word in GOOD for word in chosen) > len(chosen) / 2


def test_many_texts_keep_their_order_and_equal_single_ones(labeller):
    texts = ["A lovely film.", "", "awful", "🦆 \x00 Привет \udce9", "boring story " * 700]
    together = labeller.classify(texts)
    assert [one.input for one in together] == texts
    for text, one in zip(texts, together, strict=True):
        [alone] = labeller.classify([text])
        assert alone.label == one.label
        assert alone.probability == pytest.approx(one.probability, abs=1e-5)
    assert (together[1].label, together[1].probability, together[1].weights) == (None, None, None)
    assert len(together[4].words) == 1400
    assert labeller.classify([]) == []


def test_texts_may_come_one_by_one(labeller):
    texts = ["A lovely film.", "awful"]
    assert labeller.classify(text for text in texts) == labeller.classify(texts)
    with pytest.raises(TypeError, match="texts must be a list of str; got int"):
        labeller.classify(3)


def test_what_is_no_list_of_texts_is_refused(labeller):
    for wrong in ("text", [b"text"]):
        with pytest.raises(TypeError, match="texts must be a list of str"):
            labeller.classify(wrong)


def test_the_interval_of_a_share_stays_within_none_and_all():
    always = Accuracy.of(["a"] * 8000, ["a"] * 8000)  # the formula rounds to more than 1
    never = Accuracy.of(["a"] * 8000, ["b"] * 8000)
    assert always.interval[1] == 1.0
    assert never.interval[0] == 0.0
    assert always.interval[0] == pytest.approx(1 - never.interval[1]) == pytest.approx(0.99952)


def test_evaluation_counts_each_label(learnt, tmp_path):
    wrong = "neg\tThe film number 0 was lovely for me"
    accuracy = evaluate(learnt, write_texts(tmp_path / "test.tsv", [*LINES, wrong]))
    assert (accuracy.right, accuracy.count) == (36, 37)
    assert accuracy.by_label == {"neg": (18, 19), "pos": (18, 18)}
    low, high = accuracy.interval
    assert (low, high) == (pytest.approx(0.8618, abs=1e-3), pytest.approx(0.9952, abs=1e-3))
    assert str(accuracy).startswith("accuracy 97.30 % [86.")
    other = write_texts(tmp_path / "other.tsv", ["good\tfilm"])
    with pytest.raises(
        ValueError, match="the label 'good' is not among those trained on: neg, pos"
    ):
        evaluate(learnt, other)


@pytest.mark.parametrize("encoder", ["rnn", "lstm", "attention", "hybrid", "conv"])
def test_every_encoder_is_trained_saved_and_loaded(tmp_path, encoder):
    path = write_texts(tmp_path / "data.tsv")
    train_texts(path, tmp_path / "out", sizes=TEXT_SIZES | {"encoder": encoder}, steps=2)
    labeller = TextLabeller.load(tmp_path / "out")
    assert labeller.model.config.encoder == encoder
    [found] = labeller.classify(["a lovely film"])
    assert found.label in ("pos", "neg")


def test_half_precision_loads_and_agrees(labeller, tmp_path):
    labeller.save(tmp_path, torch.float16)
    [one], [other] = (x.classify([LINES[0]]) for x in (labeller, TextLabeller.load(tmp_path)))
    assert other.probability == pytest.approx(one.probability, abs=1e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "x"}, "its format is 'x', not 'qkv text classifier 1'"),
        ({"labels": ["a"]}, "the counts differ"),
        ({"longest": 0}, "longest must be an int >= 1; got 0"),
        ({"model": {}}, "not a text classifier that qkv can load"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(learnt, tmp_path, changes, message):
    folder = tmp_path / "model"
    shutil.copytree(learnt, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ValueError, match=message) as caught:
        TextLabeller.load(folder)
    assert str(caught.value).startswith(f"{folder}: ")
