"""What the size of the data decides, and that what is told wins."""

import json
import sys
import tomllib
from pathlib import Path

import pytest

from qkv.cli.run import run
from qkv.tasks import by_size
from qkv.tasks.trainer import run as trainer
from qkv.tasks.trainer.settings import Settings

sys.path.insert(0, str(Path(__file__).parent / "classification"))
from small import write_pictures

SOURCES = [f"The {noun} is {word}." for noun in ("dog", "cat", "tree", "house", "car")
           for word in ("red", "old", "big", "new", "good", "here", "gone", "mine")]  # fmt: skip
SUBJECTS = ("film", "story", "actor", "song", "scene", "ending", "plot", "cast", "end", "start")
WORDS = {"pos": ("lovely", "brilliant", "moving"), "neg": ("awful", "dreadful", "boring")}


def steps(chosen, size, batch="batch_tokens"):
    return chosen["epochs"] * size / chosen[batch]


@pytest.mark.parametrize("tokens", [3_300, 16_500, 330_000])
def test_a_few_pairs_make_a_run_of_several_hundred_steps_with_a_small_model(tokens):
    chosen = by_size.pairs(tokens, None, None, limited=False, attending=True)
    assert 700 <= steps(chosen, tokens) <= 1_300
    assert chosen["epochs"] * tokens <= 1_000_000  # two minutes
    assert (chosen["width"], chosen["encoder_layers"], chosen["decoder_layers"]) == (128, 1, 1)
    assert (chosen["feedforward"], chosen["learning_rate"]) == (512, 3e-3)
    assert chosen["dropout"] == (0.0 if tokens == 330_000 else 0.1)
    assert "feedforward" not in by_size.pairs(tokens, None, None, limited=False, attending=False)


def test_many_pairs_are_seen_three_times_by_the_large_model():
    chosen = by_size.pairs(20_000_000, None, None, limited=False, attending=True)
    assert chosen == {
        "batch_tokens": 4096, "epochs": 3, "width": 256, "feedforward": 1024, "encoder_layers": 3,
        "decoder_layers": 3, "learning_rate": 1e-3, "dropout": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize(("count", "tokens"), [(200, 55_000), (2_000, 560_000), (150, 1_500)])
def test_texts_make_a_run_of_some_hundred_steps(count, tokens):
    chosen = by_size.texts(count, tokens, None, limited=False)
    assert 300 <= steps(chosen, tokens) <= 700
    assert chosen["batch_tokens"] >= 7 * tokens / count


@pytest.mark.parametrize("count", [80, 4_500])
def test_pictures_make_a_run_of_some_hundred_steps_with_few_channels(count):
    chosen = by_size.pictures(count, None, limited=False, convolutional=True)
    assert 400 <= steps(chosen, count, "batch") <= 1_000
    assert chosen["channels"] == 16
    assert "channels" not in by_size.pictures(count, None, limited=False, convolutional=False)


def test_epochs_follow_the_batch_that_is_told():
    small = by_size.texts(2_000, 560_000, 2_000, limited=False)
    large = by_size.texts(2_000, 560_000, 16_000, limited=False)
    assert (small["batch_tokens"], large["batch_tokens"]) == (2_000, 16_000)
    assert small["epochs"] < large["epochs"]
    wide = by_size.pairs(330_000, None, 256, limited=False, attending=True)
    assert (wide["feedforward"], wide["learning_rate"]) == (1024, 1e-3)


def test_of_few_more_is_held_out():
    shares = [by_size.held_out(count, 0.02) for count in (100, 1_000, 100_000)]
    assert shares == [0.2, 0.1, 0.02]


def written(folder):
    return tomllib.loads((folder / "run.toml").read_text(encoding="utf-8"))


def write_texts(path):
    lines = (
        f"{label}\tThe {subject} was {word}\n"
        for subject in SUBJECTS
        for label, words in WORDS.items()
        for word in words
    )
    path.write_text("".join(lines), encoding="utf-8")


def write_pairs(path):
    lines = (f"{source}\t{source.swapcase()}\n" for source in SOURCES)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_what_is_told_wins_and_what_was_chosen_is_said_and_written(tmp_path, capsys):
    data, out = write_pairs(tmp_path / "pairs.tsv"), tmp_path / "out"
    told = ["--width", "8", "--epochs", "1", "--source-pieces", "300", "--target-pieces", "300"]
    assert run(["train", "translate", str(data), "--out", str(out), *told]) == 0
    assert "by the size of the data: batch-tokens 256, learning-rate 0.001\n" in (
        capsys.readouterr().err
    )
    values = written(out)
    assert (values["width"], values["encoder_layers"], values["epochs"]) == (8, 3, 1)
    assert (values["batch_tokens"], values["validation_share"]) == (256, 0.2)
    model = json.loads((out / "config.json").read_text())["model"]
    assert (model["width"], model["encoder_layers"]) == (8, 3)


def test_pictures_say_what_was_chosen(tmp_path, capsys):
    data, out = write_pictures(tmp_path / "pictures.npz"), tmp_path / "out"
    told = ["--channels", "4", "--batch", "30", "--steps", "2", "--validation-share", "0.3"]
    assert run(["train", "classify-image", str(data), "--out", str(out), *told]) == 0
    shown = capsys.readouterr().err
    assert "by the size" not in shown
    assert "2 steps at most, the rate rises over 1: few to learn anything in\n" in shown
    assert (written(out)["batch"], written(out)["channels"]) == (30, 4)


def test_a_trained_model_keeps_its_sizes(tmp_path):
    data, first, second = tmp_path / "pictures.npz", tmp_path / "first", tmp_path / "second"
    write_pictures(data)
    command = ["train", "classify-image", str(data), "--out"]
    assert run([*command, str(first), "--channels", "4", "--steps", "1"]) == 0
    assert run([*command, str(second), "--start-from", str(first), "--batch", "512"]) == 0
    assert written(second)["channels"] == 4
    assert written(second)["epochs"] == 100


COMMANDS = {
    "translate": ({}, {"width": 128, "encoder_layers": 1, "learning_rate": 0.003}),
    "classify": ({"pieces": "300"}, {"batch_tokens": 256}),
    "classify-image": ({}, {"channels": 16, "batch": 16}),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_is_resumed_keeps_what_was_chosen_under_another_limit(
    command, tmp_path, monkeypatch, capsys
):
    data, out = tmp_path / "data.npz", tmp_path / "out"
    write = {"translate": write_pairs, "classify": write_texts, "classify-image": write_pictures}
    write[command](data)
    told, chosen = COMMANDS[command]
    flags = [part for name, value in told.items() for part in (f"--{name}", value)]
    again = ["train", command, str(data), "--out", str(out), *flags]
    with monkeypatch.context() as stopped:
        stopped.setattr(trainer._Run, "_epoch", _interrupted)
        assert run(again) == 130
    assert run([*again, "--resume", "--epochs", "9", "--steps", "1"]) == 0
    assert {name: written(out)[name] for name in chosen} == chosen
    assert (written(out)["epochs"], written(out)["steps"]) == (9, 1)
    capsys.readouterr()
    assert run([*again, "--resume", "--epochs", "9", "--steps", "1", "--dropout", "0.6"]) == 1
    assert "dropout was " in capsys.readouterr().err


def test_a_run_with_a_limit_keeps_its_size_when_it_goes_on_without_one(
    tmp_path, monkeypatch, capsys
):
    data, out = tmp_path / "data.npz", tmp_path / "out"
    write_pictures(data)
    again = ["train", "classify-image", str(data), "--out", str(out)]
    with monkeypatch.context() as stopped:
        stopped.setattr(trainer._Run, "_epoch", _interrupted)
        assert run([*again, "--steps", "9"]) == 130
        capsys.readouterr()
        assert run([*again, "--resume"]) == 130
    assert "by the size of the data: epochs 100\n" in capsys.readouterr().err


def _interrupted(_):
    raise KeyboardInterrupt


def test_an_epoch_of_a_part_of_the_pairs_is_gone_through_more_often():
    often = {"batch": None, "width": None, "limited": False, "attending": True}
    whole, part, more = (by_size.pairs(330_000, times=n, **often) for n in (1.0, 0.25, 3.0))
    assert (whole["epochs"], part["epochs"], more["epochs"]) == (3, 12, 1)
    assert whole | {"epochs": 0} == part | {"epochs": 0} == more | {"epochs": 0}
    least = by_size.pairs(100, times=0.001, **often)
    assert least["epochs"] == 1_300  # steps, of which every epoch is one at least


def test_how_often_an_epoch_takes_pairs_counts_for_the_number_of_epochs(
    tmp_path, monkeypatch, capsys
):
    data = write_pairs(tmp_path / "pairs.tsv")
    monkeypatch.setattr(trainer._Run, "_epoch", _interrupted)
    command = ["train", "translate", str(data), "--out", str(tmp_path / "out"), "--times", "4"]
    assert run(command) == 130
    assert " epochs 15, " in capsys.readouterr().err


def test_a_warmup_longer_than_the_run_is_told_before_it_starts(tmp_path, capsys):
    data, out = write_pairs(tmp_path / "pairs.tsv"), tmp_path / "out"
    told = ["--steps", "20", "--warmup", "30"]
    assert run(["train", "translate", str(data), "--out", str(out), *told]) == 1
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert line == "qkv: train: warmup must end within the run, which has 20 steps; got 30"
    assert not (out / "training" / "last.pt").exists()


@pytest.mark.parametrize(
    ("settings", "batches", "processes", "expected"),
    [
        ({"epochs": 3}, 10, 1, 30),
        ({"epochs": 3, "accumulate": 2}, 10, 2, 9),
        ({"epochs": 3, "steps": 7}, 10, 1, 7),
        ({"minutes": 1.0, "warmup": 999}, 10, 1, None),
    ],
)
def test_the_steps_of_a_run_are_known_before_it_unless_time_ends_it(
    settings, batches, processes, expected
):
    assert Settings(**settings).planned(batches, processes) == expected


def test_separable_texts_are_learnt_by_the_defaults(tmp_path):
    data, out = tmp_path / "texts.tsv", tmp_path / "out"
    lines = [
        f"{label}\tThe {subject} number {number} was {word}\n"
        for number in range(4)
        for subject in SUBJECTS
        for label, words in WORDS.items()
        for word in words
    ]
    data.write_text("".join(lines), encoding="utf-8")
    assert run(["train", "classify", str(data), "--out", str(out)]) == 0
    values = written(out)
    assert (values["epochs"], values["batch_tokens"]) == (60, 256)
    found = [json.loads(line) for line in (out / "training" / "log.jsonl").read_text().splitlines()]
    assert max(one.get("accuracy", 0) for one in found) >= 95


def test_templated_pairs_are_learnt_by_the_defaults(tmp_path, capsys):
    data, out = tmp_path / "pairs.tsv", tmp_path / "out"
    pairs = [
        f"{who} {verb} the {kind} {thing}.\t{one}{does}{like}{it}。\n"
        for who, one in {"I": "我", "You": "你", "They": "他们"}.items()
        for verb, does in {"see": "看见", "sell": "卖", "lose": "丢掉"}.items()
        for kind, like in {"red": "红色的", "old": "旧的", "big": "大的"}.items()
        for thing, it in {"book": "书", "hat": "帽子", "car": "车", "cup": "杯子"}.items()
    ]
    data.write_text("".join(pairs), encoding="utf-8")
    assert run(["train", "translate", str(data), "--out", str(out)]) == 0
    assert "by the size of the data: feedforward 512, batch-tokens 256, epochs 60, width 128, " in (
        capsys.readouterr().err
    )
    [held] = (out / "training" / "held-out").glob("validation.*.tsv")
    assert run(["evaluate", str(held), "--model", str(out), "--bootstrap", "0"]) == 0
    assert float(capsys.readouterr().out.split()[1]) >= 90


def test_a_recurrent_translator_is_left_without_what_only_self_attention_has(tmp_path):
    data, out = write_pairs(tmp_path / "pairs.tsv"), tmp_path / "out"
    told = ["--encoder", "gru", "--decoder", "gru", "--feeding", "none", "--patience", "1"]
    assert run(["train", "translate", str(data), "--out", str(out), *told]) == 0
    assert (written(out)["width"], "feedforward" in written(out)) == (128, False)
