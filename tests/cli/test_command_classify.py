"""`qkv train classify`, `qkv train classify-image`, `qkv classify` and `qkv evaluate` as a user
runs them."""

import io
import json
import os
import subprocess
import sys

import numpy
import pytest
import torch
from PIL import Image

from qkv.cli.run import run

WORDS = {"pos": ("lovely", "brilliant"), "neg": ("awful", "dreadful")}
LINES = "".join(
    f"{label}\t{n}\tA {word} film number {n}\n"
    for n in range(12)
    for label, words in WORDS.items()
    for word in words
)
TEXTS = ["--width", "8", "--embedding", "8", "--pieces", "300", "--encoder", "gru"]


def picture(path, red, size=24):
    array = numpy.zeros((size, size, 3), numpy.uint8)
    array[2:6, 2:6, 0 if red else 2] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array + numpy.uint8(len(path.stem))).save(path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with data, and a trained classifier of texts and one of pictures."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    (folder / "texts.tsv").write_text(LINES, encoding="utf-8")
    for n in range(10):
        picture(folder / "pictures" / ("red", "blue")[n % 2] / f"{'p' * (n + 1)}.png", n % 2 == 0)
    texts = ["train", "classify", folder / "texts.tsv", "--out", folder / "texts", *TEXTS]
    limits = ["--steps", "3", "--learning-rate", "0.02"]
    assert run([*map(str, [*texts, *limits, "--validation-share", "0.3"])]) == 0
    images = ["train", "classify-image", folder / "pictures", "--out", folder / "images"]
    sizes = ["--channels", "4", "--batch", "4", "--validation-share", "0.3", "--no-flips"]
    assert run([*map(str, [*images, *sizes, *limits])]) == 0
    return folder


@pytest.fixture
def classify(capsys, monkeypatch):
    """Run the command: exit status, standard output, standard error."""

    def call(*arguments, stdin=""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
        capsys.readouterr()
        status = run(["classify", *map(str, arguments)])
        return status, *capsys.readouterr()

    return call


def test_a_label_and_its_probability_for_each_text(classify, models):
    status, output, errors = classify("--model", models / "texts", "a lovely film", "", "awful")
    assert (status, errors) == (0, "")
    first, empty, last = output.splitlines()
    for line in (first, last):
        label, probability = line.split("\t")
        assert label in WORDS
        assert 0.5 <= float(probability) <= 1
    assert empty == ""
    same = classify("--model", models / "texts", stdin="a lovely film\n\nawful\n")
    assert same == (0, output, "")


def test_files_and_standard_input_are_read_line_by_line(classify, models, tmp_path):
    file = tmp_path / "r.txt"
    file.write_text("a lovely film\n\nawful\n")
    model = ["--model", models / "texts"]
    expected = classify(*model, "a lovely film", "", "awful")
    assert classify(*model, file) == expected
    assert classify(*model, "-", stdin=file.read_text()) == expected
    status, output, errors = classify(*model, "--json", "--text", file)
    assert (status, errors) == (0, "")
    assert json.loads(output)["input"] == str(file)
    status, output, errors = classify(*model, "awful", tmp_path / "absent.txt")
    assert (status, output) == (2, "")
    assert f"there is no file {tmp_path / 'absent.txt'}; with --text" in errors


def test_lines_may_be_names_of_pictures_but_not_of_folders(classify, models, monkeypatch, tmp_path):
    for kind in ("texts", "images"):
        place = f"qkv.tasks.classification.{kind.removesuffix('s')}s.classifier.SHIPPED"
        monkeypatch.setattr(place.replace(".texts.", ".text."), models / kind)
    red = models / "pictures" / "red"
    (tmp_path / "list.txt").write_text(f"{red / 'p.png'}\n{red}\n")
    for arguments in ([tmp_path / "list.txt"], ["-"], []):
        status, output, _ = classify(*arguments, stdin=(tmp_path / "list.txt").read_text())
        first, second = output.splitlines()
        assert status == 0
        assert first.split("\t")[1] in ("red", "blue")
        assert second.split("\t")[0] in WORDS


def test_json_has_every_label_and_where_it_looked(classify, models):
    _, plain, _ = classify(
        "--model", models / "texts", "--json", "Ein Brötchen", "a lovely film", " "
    )
    first, fields, empty = map(json.loads, plain.splitlines())
    names = ["input", "label", "probability", "probabilities", "words", "weights"]
    assert list(first) == list(fields) == list(empty) == names
    assert first["input"] == "Ein Brötchen"
    assert "ö" in plain
    assert (empty["label"], empty["probability"]) == (None, None)
    assert (empty["input"], empty["probabilities"], empty["words"]) == (" ", {}, [])
    assert empty["weights"] is None
    assert list(fields["probabilities"]) in (["pos", "neg"], ["neg", "pos"])
    likeliest = max(fields["probabilities"], key=fields["probabilities"].get)
    assert fields["label"] == likeliest == next(iter(fields["probabilities"]))
    assert fields["probability"] == fields["probabilities"][likeliest]
    assert sum(fields["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert fields["words"] == ["a", "lovely", "film"]
    assert len(fields["weights"]) == 3
    assert 0 < sum(fields["weights"]) <= 1.00001


def test_show_and_json_exclude_each_other(classify, models):
    status, _, errors = classify("--model", models / "texts", "--json", "--show", "a film")
    assert (status, errors.count("\n")) == (2, 1)
    assert "--show and --json exclude each other" in errors


def test_show_marks_the_words(classify, models):
    _, output, _ = classify("--model", models / "texts", "--show", "a lovely film", "")
    assert "lovely" in output.splitlines()[1]
    assert "██ from " in output


def test_what_is_left_out_of_a_long_text_is_said(classify, models, tmp_path):
    arguments = [
        models / "texts.tsv",
        "--out",
        tmp_path / "m",
        *TEXTS,
        "--longest",
        4,
        "--steps",
        1,
    ]
    assert run(["train", "classify", *map(str, arguments)]) == 0
    status, _, errors = classify("--model", tmp_path / "m", "one two three four five six")
    assert (status, errors) == (0, "qkv: the first 4 of 6 words are read\n")
    assert classify("--model", models / "texts", "word " * 3000)[2] == ""


def test_pictures_and_folders_of_them(classify, models):
    red = models / "pictures" / "red"
    status, output, errors = classify("--model", models / "images", red, red / "p.png")
    assert (status, errors) == (0, "")
    files = [line.split("\t")[0] for line in output.splitlines()]
    expected = [str(red / f"{'p' * n}.png") for n in (1, 3, 5, 7, 9)]
    assert files == [*sorted(expected), str(red / "p.png")]
    _, output, _ = classify("--model", models / "images", "--json", red / "p.png")
    fields = json.loads(output)
    assert set(fields["probabilities"]) == {"red", "blue"}
    assert fields["label"] in ("red", "blue")
    assert numpy.array(fields["weights"]).shape == (3, 3)
    _, output, _ = classify("--model", models / "images", "--show", red / "p.png")
    assert len(output.splitlines()[1]) == 6


def test_pictures_of_where_it_looked_are_numbered(classify, models, tmp_path):
    red = models / "pictures" / "red"
    arguments = ["--model", models / "images", "--picture", tmp_path / "m.png", red]
    assert classify(*arguments)[0] == 0
    names = {"m.png", "m-2.png", "m-3.png", "m-4.png", "m-5.png"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_text_is_drawn_too_and_one_without_words_is_not(classify, models, tmp_path):
    arguments = ["--model", models / "texts", "--picture", tmp_path / "m.svg", "--json"]
    assert classify(*arguments, "a good film", " ", "a bad film")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"m.svg", "m-2.svg"}


def test_a_file_that_is_no_picture_is_named_and_the_others_are_answered(classify, models, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG no more")
    good = models / "pictures" / "red" / "p.png"
    lines = "\n".join(map(str, (bad, tmp_path / "absent.png", good)))
    status, output, errors = classify("--model", models / "images", stdin=lines)
    assert status == 1
    assert output.startswith(f"{good}\t")
    first, second = errors.splitlines()
    told = f"qkv: {bad}: not a picture that can be read: unknown format; those are read: PNG, JPEG"
    assert first.startswith(told)
    assert second == f"qkv: {tmp_path / 'absent.png'}: No such file or directory"


def test_no_picture_that_is_read_is_drawn_over(classify, models, tmp_path):
    red, other = picture(tmp_path / "a.png", red=True), picture(tmp_path / "a-2.png", red=False)
    before = red.read_bytes(), other.read_bytes()
    options = ["--model", models / "images", "--picture", red]
    for given in ([red], [models / "pictures", other], [tmp_path], [tmp_path / ".." / red]):
        status, _, errors = classify(*options, *given)
        assert status == 2
        assert "is read too; give another file" in errors
    status, _, errors = classify(*options, stdin=f"{other}\n")
    assert status == 1
    assert f"--picture would replace {other}, which is read" in errors
    assert (red.read_bytes(), other.read_bytes()) == before


def test_a_text_that_ends_like_the_name_of_a_picture_is_a_text(
    classify, models, tmp_path, monkeypatch
):
    monkeypatch.setattr("qkv.tasks.classification.text.classifier.SHIPPED", models / "texts")
    told = "Awful. See the poster at http://a.example/poster.jpg"
    file = tmp_path / "texts.txt"
    file.write_text(f"a lovely film\n{told}\nawful\n")
    status, output, errors = classify(file)
    assert (status, errors, len(output.splitlines())) == (0, "", 3)
    assert classify(told)[0] == 0
    assert classify(stdin=f"{told}\n")[:1] == (0,)
    status, _, errors = classify("poster.jpg")
    assert status == 2
    assert "there is no file poster.jpg" in errors


def test_without_a_model_what_is_a_picture_is_seen_by_its_name(classify, models, monkeypatch):
    for kind in ("texts", "images"):
        place = f"qkv.tasks.classification.{kind.removesuffix('s')}s.classifier.SHIPPED"
        place = place.replace(".texts.", ".text.")
        monkeypatch.setattr(place, models / kind)
    folder = models / "pictures" / "red"
    status, output, _ = classify("a lovely film", folder / "p.png", folder)
    assert status == 0
    labels = [line.split("\t")[-2] for line in output.splitlines()]
    assert labels[0] in WORDS
    assert set(labels[1:]) <= {"red", "blue"}
    assert len(labels) == 7


@pytest.mark.parametrize("name", ["cat.png", "cat.jgp", "photos/cat.png", "./cat"])
def test_a_picture_that_is_not_there_is_a_slip_and_no_text(
    classify, models, monkeypatch, tmp_path, name
):
    monkeypatch.chdir(tmp_path)
    for model in ([], ["--model", models / "images"]):
        status, output, errors = classify(*model, models / "pictures" / "red" / "p.png", name)
        assert (status, output, errors.count("\n")) == (2, "", 1)
        assert f"there is no file {name}" in errors


def test_a_shipped_model_that_is_gone_is_named(classify, models, monkeypatch, tmp_path):
    for kind in ("text", "images"):
        monkeypatch.setattr(f"qkv.tasks.classification.{kind}.classifier.SHIPPED", tmp_path / kind)
    assert f"{tmp_path / 'text'}: not a model folder" in classify("a film")[2]
    # A picture that cannot be labelled for want of a model is no picture that cannot be read.
    status, _, errors = classify(models / "pictures" / "red" / "p.png")
    assert (status, errors.count("\n")) == (1, 1)
    assert f"{tmp_path / 'images'}: not a model folder" in errors


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--model", "absent", "x"], 2, "classify: absent: no such folder, and no model that"),
        (["--model", "en-zh", "x"], 1, "classify: en-zh is a translator, not a classifier"),
        (["--model", "{models}", "x"], 1, "config.json cannot be read"),
        (["--picture", "map.jpg", "x"], 2, "must end in .png, .svg, .pdf"),
        (["--model", "{models}/images", "{models}/images"], 1, "holds no picture files"),
        (["--model", "{models}/images", "--text", "x"], 2, "images is a classifier of pictures"),
        (["--model", "{models}/texts", "{models}"], 2, "is a folder; with --text it is a text"),
        (["some.npz"], 2, "some.npz: an .npz file of pictures is measured as a whole, by qkv eval"),
    ],
)
def test_a_mistake_is_one_line(classify, models, arguments, status, message):
    found, _, errors = classify(*(one.format(models=models) for one in arguments))
    assert found == status
    assert errors.startswith("qkv: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_a_model_without_attention_has_nothing_to_show(classify, models, tmp_path):
    arguments = ["classify-image", models / "pictures", "--out", tmp_path / "m", "--channels", 4]
    plain = ["--architecture", "cnn", "--steps", 1, "--validation-share", 0.3]
    assert run(["train", *map(str, [*arguments, *plain])]) == 0
    file = models / "pictures" / "red" / "p.png"
    assert classify("--model", tmp_path / "m", file)[0] == 0
    status, _, errors = classify("--model", tmp_path / "m", "--show", file)
    assert (status, errors) == (
        1,
        "qkv: classify: this model has no attention, so there is nothing to show\n",
    )


@pytest.mark.parametrize("name", ["some.npz", "folder"])
def test_pictures_without_a_model_to_measure_are_told_of_it(capsys, tmp_path, name):
    (tmp_path / "folder").mkdir()
    assert run(["evaluate", str(tmp_path / name)]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert f"{name}: pictures are for a classifier, which --model names" in shown


@pytest.mark.parametrize(
    "pair", ["I saw the film {n}\t我看了{n}", "我看了{n}\tI saw {n}", "Film {n}\tKino {n}"]
)
def test_sentence_pairs_to_learn_labels_from_are_told_what_they_seem(tmp_path, capsys, pair):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(pair.format(n=n) + "\n" for n in range(30)))
    assert run(["train", "classify", str(path), "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert f"{path}: lines must be label<TAB>text; these look like source<TAB>target" in shown
    assert "qkv train translate" in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("kind", "data"), [("texts", "texts.tsv"), ("images", "pictures")])
def test_evaluation_tells_the_accuracy(models, capsys, kind, data):
    assert run(["evaluate", str(models / data), "--model", str(models / kind)]) == 0
    assert capsys.readouterr().out.startswith("accuracy ")
    arguments = [str(models / data), "--model", str(models / kind), "--beam", "2"]
    assert run(["evaluate", *arguments]) == 2
    rule = "--beam, --length-penalty, --bootstrap and --against are for translators"
    assert rule in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options", "status", "message"),
    [
        ("classify", ["--window", "4"], 2, "--window has no meaning with the --encoder lstm"),
        ("classify", ["--encoder", "cnn"], 2, "'cnn' is not one of"),
        ("classify", ["--longest", "0"], 2, "Invalid value for '--longest'"),
        ("classify-image", ["--warmup", "3"], 2, "--warmup has no meaning with the --schedule one"),
        ("classify-image", ["--size", "2"], 2, "Invalid value for '--size'"),
        ("classify-image", ["--architecture", "vit", "--patch", "5"], 1, "patch must divide"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(
    models, tmp_path, capsys, command, options, status, message
):
    data = models / ("texts.tsv" if command == "classify" else "pictures")
    shares = ["--validation-share", "0.3", "--steps", "1"]
    assert (
        run(["train", command, str(data), "--out", str(tmp_path / "o"), *shares, *options])
        == status
    )
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("qkv: ")
    assert message in line


def test_torchrun_runs_the_command_unchanged(models, tmp_path):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "qkv", "train", "classify", str(models / "texts.tsv"),
        "--out", str(tmp_path / "m"), *TEXTS, "--steps", "2",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("training texts") == 1
    assert (tmp_path / "m" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "command", [["classify"], ["train", "classify"], ["train", "classify-image"]]
)
def test_help_needs_no_torch(command):
    code = (
        f"import sys; from qkv.cli.run import run; run([*{command!r}, '--help'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
