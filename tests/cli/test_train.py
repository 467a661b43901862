"""`qkv train translate` and `qkv evaluate` as a user runs them."""

import json
import re
import subprocess
import sys

import pytest

from qkv.cli.run import run

WHO = {"I": "我", "We": "我们", "They": "他们"}
WHAT = {"sleep": "睡觉", "drink tea": "喝茶", "read a book": "读一本书", "see a dog": "看见一只狗"}
LINES = "".join(f"{a} {b}.\t{c}{d}。\n" for a, c in WHO.items() for b, d in WHAT.items())
SMALL = [
    *("--width", "8", "--encoder-layers", "1", "--decoder-layers", "1"), *("--source-pieces", "300")
]  # fmt: skip
RECURRENT = ["--encoder", "lstm", "--decoder", "gru", "--score", "dot"]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text(LINES, encoding="utf-8")
    return path


def train(*arguments):
    return run(["train", "translate", *map(str, arguments), *SMALL])


def test_training_resuming_and_evaluating(data, tmp_path, capsys):
    out = tmp_path / "out"
    shares = ["--validation-share", 0.2]
    assert train(data, "--out", out, *shares, "--steps", 2, *RECURRENT) == 0
    shown = capsys.readouterr().err
    assert "source tokens" in shown
    assert "bleu" in shown
    again = [data, "--out", out, *shares, *RECURRENT]
    assert train(*again, "--steps", 4, "--resume") == 0
    assert "step 4" in capsys.readouterr().err
    assert run(["evaluate", str(data), "--model", str(out), "--bootstrap", "10"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("BLEU ")
    assert "on 12 sentences (nrefs:1|bs:10" in shown
    options = ["--against", str(out), "--bootstrap", "10"]
    assert run(["evaluate", str(data), "--model", str(out), *options]) == 0
    score, other, difference = capsys.readouterr().out.splitlines()
    assert other == f"against {score}"
    assert difference == "difference +0.0 [+0.0, +0.0]"
    assert run(["evaluate", str(data), "--model", str(out), *options[:2], "--bootstrap", "0"]) == 1
    assert "bootstrap must be at least 1 to compare two models" in capsys.readouterr().err


def test_training_goes_on_from_a_model(data, tmp_path, capsys):
    first, second, other = (tmp_path / name for name in ("first", "second", "other"))
    shares = ["--validation-share", 0.2, "--steps", 2]
    assert train(data, "--out", first, *shares) == 0
    start = ["train", "translate", str(data), "--start-from", str(first), *map(str, shares)]
    assert run([*start, "--out", str(second), "--dropout", "0.3"]) == 0
    one, two = (json.loads((out / "config.json").read_text()) for out in (first, second))
    assert two["model"] == one["model"] | {"dropout": 0.3}
    third = [*start, "--start-from", str(second)]
    assert run([*third, "--out", str(tmp_path / "third")]) == 0
    assert json.loads((tmp_path / "third" / "config.json").read_text()) == two
    again = ["--config", str(tmp_path / "third" / "run.toml"), "--out", str(tmp_path / "again")]
    assert run(["train", "translate", *again]) == 0
    for flag, value, own in (("encoder", "'gru'", "'attention'"), ("width", "256", "8")):
        assert run([*start, "--out", str(other), f"--{flag}", value.strip("'")]) == 1
        expected = f"{flag} must be that of the model to start from, {own}; got {value}"
        assert expected in capsys.readouterr().err
    assert run([*start, "--out", str(other), "--source-pieces", "6000"]) == 1
    assert "source_pieces has no meaning with start_from" in capsys.readouterr().err
    assert not other.exists() or not list(other.iterdir())


def test_the_transformer_is_what_is_trained_and_then_evaluated_and_shown(data, tmp_path, capsys):
    out, picture = tmp_path / "out", tmp_path / "looks.png"
    assert train(data, "--out", out, "--validation-share", 0.2, "--steps", 2) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["family"] == "sequence-to-sequence"
    assert (config["model"]["encoder"], config["model"]["decoder"]) == ("attention", "attention")
    assert run(["evaluate", str(data), "--model", str(out), "--bootstrap", "0"]) == 0
    capsys.readouterr()
    shown = ["--model", str(out), "--beam", "1", "--show", "--picture", str(picture)]
    assert run(["translate", *shown, "We sleep."]) == 0
    first, header, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == ["We", "sleep", ".", "(end)"], first
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "holds a run already; resume it or give another folder"),
        (["--resume", "--encoder", "gru"], "other data or settings: encoder was attention, is gru"),
        (["--resume", "--width", "12"], "other data or settings: width was 8, is 12"),
    ],
)
def test_another_run_in_the_folder_is_left_alone(data, tmp_path, capsys, changes, message):
    arguments = [data, "--out", tmp_path / "out", "--validation-share", 0.2, "--steps", 1]
    assert train(*arguments) == 0
    capsys.readouterr()
    assert run(["train", "translate", *map(str, [*arguments, *SMALL, *changes])]) == 1
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert message in line


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--minutes", "-1"], 2, "'--minutes': must be positive; got -1.0"),
        (["--dropout", "1"], 2, "'--dropout': must be in [0, 1); got 1.0"),
        (["--label-smoothing", "nan"], 2, "'--label-smoothing': must be in [0, 1); got nan"),
        (["--test-share", "2"], 2, "'--test-share': must be in [0, 1); got 2.0"),
        (["--learning-rate", "nan"], 2, "'--learning-rate': must be positive; got nan"),
        (["--clip", "0"], 2, "'--clip': must be positive; got 0.0"),
        (["--seed", "4294967296"], 2, "'--seed': must be an int in [0, 4294967296)"),
        (
            ["--validation-share", "0.6", "--test-share", "0.5"],
            2,
            "--validation-share and --test-share must leave something to train on",
        ),
        (
            ["--schedule", "one-cycle"],
            2,
            "--warmup has no meaning with the --schedule one-cycle",
        ),
        (["--validation", "absent.tsv"], 2, "absent.tsv: No such file or directory"),
        (["--start-from", "absent"], 2, "train: absent: no such folder, and no model that ships"),
        (["--start-from", "reviews"], 1, "train: reviews is a text classifier, not a translator"),
        (["--resume"], 1, "holds no run to resume"),
        (
            ["--learning-rate", "1e38", "--validation-share", "0.2"],
            1,
            "no longer finite after step 1",
        ),
        (
            ["--score", "dot"],
            2,
            "--score has no meaning with the --decoder attention; got 'dot'",
        ),
        (["--score", "cosine"], 2, "'cosine' is not one of"),
        (["--epochs", "0"], 2, "Invalid value for '--epochs'"),
    ],
)
def test_a_mistake_is_one_line(data, tmp_path, capsys, options, status, message):
    assert train(data, "--out", tmp_path / "out", "--warmup", 0, *options) == status
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("qkv: ")
    assert message in line


def test_a_finished_run_that_is_resumed_says_so(data, tmp_path, capsys):
    arguments = [data, "--out", tmp_path / "out", "--validation-share", 0.2, "--steps"]
    said = "nothing left to train: the run ended after step 1, "
    assert train(*arguments, 1) == 0
    assert said not in capsys.readouterr().err
    assert train(*arguments, 1, "--resume") == 0
    assert said in capsys.readouterr().err
    assert train(*arguments, 2, "--resume") == 0
    assert said not in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--minutes", "-1"], ["--heads", "0"], ["--dropout", "1"], ["--score", "dot"],
     ["--test-share", "0.99"], ["--length-penalty", "-1"], ["--learning-rate", "nan"],
     ["--longest", "1" + 30 * "0"], ["--epochs", str(2**31)], ["--threads", "1025"]],
)  # fmt: skip
def test_a_bad_value_is_told_before_the_data_are_read(tmp_path, capsys, options):
    assert train(tmp_path / "absent.tsv", "--out", tmp_path / "out", *options) == 2
    assert options[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["--beam", "0"], ["--beam", "-1"], ["--beam", "101"], ["--beam", "1" + 30 * "0"],
     ["--bootstrap", "-1"], ["--bootstrap", "1" + 30 * "0"], ["--length-penalty", "inf"],
     ["--length-penalty", "nan"]],
)  # fmt: skip
def test_so_it_is_in_evaluating(tmp_path, capsys, options):
    assert run(["evaluate", str(tmp_path / "absent.tsv"), *options]) == 2
    shown = capsys.readouterr().err
    assert (shown.count("\n"), options[0] in shown) == (1, True)


@pytest.mark.parametrize("command", ["translate", "classify", "classify-image"])
def test_help_lists_the_settings_in_groups(capsys, command):
    assert run(["train", command, "--help"]) == 0
    output, _ = capsys.readouterr()
    titles = re.findall(r"─ ([A-Z][a-z]+) ─", output)
    task = {"translate": "Translation", "classify": "Texts", "classify-image": "Pictures"}
    assert titles == ["Arguments", "Options", "Data", "Training", task[command], "Model"]
    groups = dict(zip(titles, re.split(r"─ [A-Z][a-z]+ ─", output)[1:], strict=True))
    homes = {"--out": "Options", "--validation-share": "Data", "--warmup": "Training"}
    homes |= {"--label-smoothing": task[command], "--dropout": "Model"}
    for flag, title in homes.items():
        assert [name for name in titles if f" {flag} " in groups[name]] == [title]


def test_bad_data_is_one_line_with_file_and_line_number(tmp_path, capsys):
    path = tmp_path / "bad.tsv"
    path.write_text("one\ttwo\nno tab\n", encoding="utf-8")
    assert train(path, "--out", tmp_path / "out") == 1
    expected = f"qkv: {path}: line 2 is not source<TAB>target (1 of 2 lines are not)\n"
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "out").exists()
    assert run(["evaluate", str(path)]) == 1
    assert "line 2 is not source<TAB>target" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["absent.tsv", "absent", "."])
def test_data_that_are_no_file_are_a_slip(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    commands = [["train", "translate", name, "--out", "out"],
                ["train", "classify", name, "--out", "out"], ["evaluate", name],
                ["evaluate", name, "--model", "reviews"]]  # fmt: skip
    for command in commands:
        assert run(command) == 2
        shown = capsys.readouterr().err
        assert (f" {name}: " in shown, shown.count("\n")) == (True, 1)


def test_the_other_model_to_compare_with_is_a_translator_that_is_there(data, capsys):
    for name, status in (("absent", 2), ("reviews", 1)):
        assert run(["evaluate", str(data), "--against", name]) == status
        assert f"evaluate: {name}" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["{label}\tA film, {n}", "{label}\t{n}\tA film"])
def test_labelled_texts_without_a_model_are_told_of_it(tmp_path, capsys, columns):
    lines = [columns.format(label=("pos", "neg")[n % 2], n=n) for n in range(20)]
    path = tmp_path / "reviews.tsv"
    path.write_text("\n".join(lines))
    assert run(["evaluate", str(path)]) == 1
    shown = capsys.readouterr().err
    assert shown.endswith("; without --model the translator en-zh is measured\n")
    assert shown.count("\n") == 1
    assert run(["evaluate", str(path), "--model", "en-zh"]) == 1
    assert "--model" not in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(data, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert train(data, "--out", tmp_path / "file" / "out", "--validation-share", 0.2) == 1
    assert "cannot write" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "file").read_text() == ""


def test_help_needs_no_torch():
    code = (
        "import sys; from qkv.cli.run import run; run(['train', 'translate', '--help'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--label-smoothing" in done.stdout
