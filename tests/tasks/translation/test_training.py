"""From files to a translator: repeatable, resumable, measured."""

import json
import signal
import subprocess
import sys
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from conftest import PAIRS, SIZES
from qkv.tasks.trainer import run as trainer
from qkv.tasks.trainer.run import STATE, TrainingError
from qkv.tasks.trainer.settings import Settings
from qkv.tasks.translation import Translator
from qkv.tasks.translation.looks import Look
from qkv.tasks.translation.options import Data, Options
from qkv.tasks.translation.pairs import Pair
from qkv.tasks.translation.task import TranslationTask
from qkv.tasks.translation.training import evaluate, interleave, train_translator

SETTINGS = Settings(epochs=2, save_every=3)
OPTIONS = Options(batch_tokens=40, source_pieces=300)
SMALL = SIZES | {"width": 8, "dropout": 0.2}


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{p.source}\t{p.target}\n" for p in PAIRS), encoding="utf-8")
    return Data([path], validation_share=0.2, test_share=0.2)


def run(data, folder, *, resume=False, sizes=SMALL, said=None):
    say = [].append if said is None else said.append
    return train_translator(data, folder, SETTINGS, OPTIONS, sizes, resume=resume, say=say)


def weights(folder):
    return torch.load(folder / STATE / "last.pt")["model"]


def assert_same(one, other):
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(other)[name], value, rtol=0, atol=0)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_same_data_and_seed_give_the_same_model(data, tmp_path):
    run(data, tmp_path / "a")
    run(data, tmp_path / "b")
    assert_same(tmp_path / "a", tmp_path / "b")


def test_sequences_of_a_translator_are_not_shared(tmp_path):
    absent, shared = Data([tmp_path / "absent"]), replace(SETTINGS, share="sequences")
    with pytest.raises(ValueError, match=r"^train: share must be batches for a translator: "):
        train_translator(absent, tmp_path / "out", shared, OPTIONS, SMALL)


def test_the_processes_start_once(data, tmp_path, monkeypatch):
    started, start = [], trainer.Processes
    monkeypatch.setattr(trainer, "Processes", lambda cpu: started.append(cpu) or start(cpu))
    run(data, tmp_path / "out")
    assert started == [False]


def test_a_run_draws_from_its_files_and_goes_on_as_it_was(data, tmp_path):
    more = tmp_path / "more.tsv"
    more.write_text("Tom is 25.\t汤姆25岁。\nGitHub is here.\tGitHub在这里。\n", encoding="utf-8")
    names = tmp_path / "names.tsv"
    names.write_text("Tom\t汤姆\n", encoding="utf-8")
    drawn = replace(data, train=[*data.train, more], times=[0.5, 6.0], names=names)
    options = replace(OPTIONS, vary=0.5)

    def go(folder, data=drawn, options=options, epochs=1, resume=False):
        settings = replace(SETTINGS, epochs=epochs)
        train_translator(data, folder, settings, options, SMALL, resume=resume, say=[].append)

    go(tmp_path / "parts")
    go(tmp_path / "parts", epochs=2, resume=True)
    assert Translator.load(tmp_path / "parts").carries
    configuration = tomllib.loads((tmp_path / "parts" / "run.toml").read_text())
    assert configuration["times"] == [0.5, 6.0]
    with pytest.raises(ValueError, match="--names has no meaning without --vary"):
        go(tmp_path / "none", options=OPTIONS)
    with pytest.raises(ValueError, match="data"):
        go(tmp_path / "parts", replace(drawn, times=[1.0, 6.0]), epochs=2, resume=True)


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
import test_training as tests
torch.set_num_threads(1)
original, calls = tests.TranslationTask.loss, []
def loss(self, model, batch):
    calls.append(batch)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, model, batch)
tests.TranslationTask.loss = loss
data = tests.Data([pathlib.Path(sys.argv[2])], validation_share=0.2, test_share=0.2)
tests.run(data, pathlib.Path(sys.argv[3]))
"""


def test_killed_and_resumed_equals_uninterrupted(data, tmp_path):
    arguments = [str(Path(__file__).parent), str(data.train[0]), str(tmp_path / "killed")]
    command = [sys.executable, "-c", KILLED, *arguments]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run(data, tmp_path / "killed", resume=True)
    run(data, tmp_path / "whole")
    assert_same(tmp_path / "killed", tmp_path / "whole")


def test_a_transformer_that_is_resumed_equals_one_that_was_not(data, tmp_path):
    sizes = {"width": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.2}
    options = {"schedule": "inverse-square-root", "warmup": 2, "average": 0.5}
    for folder, limits in (("stopped", (3, 6)), ("whole", (6,))):
        for number, steps in enumerate(limits):
            train_translator(
                data, tmp_path / folder, Settings(steps=steps, **options), OPTIONS, sizes,
                resume=number > 0, say=[].append,
            )  # fmt: skip
    one, other = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=0)


def test_training_starts_from_a_trained_translator_and_its_tokens(learnt, data, tmp_path):
    others = "".join(f"No, {number}!\t不，{number}！\n" for number in range(20))
    data.train[0].write_text(others, encoding="utf-8")
    settings = Settings(steps=2, learning_rate=1e-9, warmup=0, start_from=learnt)
    sizes = {"dropout": 0.3, "width": 32}  # its own
    train_translator(
        data, tmp_path / "out", settings, Options(batch_tokens=5), sizes, say=[].append
    )
    before, after = (Translator.load(folder) for folder in (learnt, tmp_path / "out"))
    for name, weight in before.model.state_dict().items():
        torch.testing.assert_close(after.model.state_dict()[name], weight, rtol=0, atol=1e-6)
    assert after.source.to_json() == before.source.to_json()
    assert after.target.to_json() == before.target.to_json()
    assert asdict(after.model.config) == asdict(before.model.config) | {"dropout": 0.3}
    configuration = tomllib.loads((tmp_path / "out" / "run.toml").read_text(encoding="utf-8"))
    assert (configuration["start_from"], configuration["encoder"]) == (str(learnt), "gru")


def test_a_run_that_started_from_a_model_is_resumed_exactly(learnt, data, tmp_path):
    options = Options(batch_tokens=40)
    for folder, limits in (("stopped", (2, 4)), ("whole", (4,))):
        for number, steps in enumerate(limits):
            settings = Settings(
                steps=steps, start_from=learnt, schedule="inverse-square-root", warmup=2
            )
            train_translator(
                data, tmp_path / folder, settings, options, {"dropout": 0.2},
                resume=number > 0, say=[].append,
            )  # fmt: skip
    one, other = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_what_a_trained_translator_has_is_not_chosen_anew(learnt, data, tmp_path):
    start = Settings(steps=1, start_from=learnt)
    with pytest.raises(ValueError, match=r"width must be that of the model .*, 32; got 8"):
        train_translator(data, tmp_path / "out", start, Options(), {"width": 8}, say=[].append)
    sizes = {"encoder": "attention"}  # a default
    with pytest.raises(ValueError, match=r"encoder must be that of .*, 'gru'; got 'attention'"):
        train_translator(data, tmp_path / "out", start, Options(), sizes, say=[].append)
    with pytest.raises(ValueError, match="source_pieces has no meaning with start_from"):
        train_translator(data, tmp_path / "out", start, OPTIONS, {}, say=[].append)
    default = Options(target_pieces=6000)
    with pytest.raises(ValueError, match="target_pieces has no meaning with start_from"):
        train_translator(data, tmp_path / "out", start, default, {}, say=[].append)
    missing = Settings(steps=1, start_from=tmp_path / "none")
    with pytest.raises(ValueError, match=r"train: .*none: no such folder, and no model that ships"):
        train_translator(data, tmp_path / "out", missing, Options(), {}, say=[].append)


@pytest.mark.parametrize("told", [{}, {"longest": 30, "length_penalty": 1.2}])
def test_what_a_trained_translator_knows_of_itself_stays(translator, data, tmp_path, told):
    known = Translator(
        translator.model, translator.source, translator.target, 40, 1.7, "English",
        aligner=Look(0, 0, "read"),
    )  # fmt: skip
    known.save(tmp_path / "known")
    settings = Settings(steps=1, start_from=tmp_path / "known")
    train_translator(data, tmp_path / "out", settings, Options(**told), {}, say=[].append)
    config, expected = (
        json.loads((tmp_path / folder / "config.json").read_text()) for folder in ("out", "known")
    )
    assert config == expected | told
    configuration = tomllib.loads((tmp_path / "out" / "run.toml").read_text(encoding="utf-8"))
    assert configuration["longest"] == config["longest"]
    assert configuration["length_penalty"] == config["length_penalty"]


def test_what_is_held_out_is_written_and_never_trained_on(data, tmp_path, monkeypatch):
    trained = []
    original = TranslationTask.__init__

    def spy(self, train, validation, *rest):
        trained.extend(train)
        original(self, train, validation, *rest)

    monkeypatch.setattr(TranslationTask, "__init__", spy)
    said = []
    run(data, tmp_path / "out", said=said)
    held = [
        Pair(*line.split("\t"))
        for path in (tmp_path / "out" / STATE / "held-out").iterdir()
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert sorted([*trained, *held]) == sorted(PAIRS)
    assert len(held) >= 4
    assert said[0].startswith(f"{len(trained)} training pairs, ")


def test_pairs_that_are_too_long_are_left_out_and_counted(data, tmp_path):
    text = data.train[0].read_text(encoding="utf-8")
    data.train[0].write_text(f"{text}{'very ' * 80}long\t长\nlong\t{'长' * 80}\n", encoding="utf-8")
    said = []
    run(data, tmp_path / "out", said=said)
    assert "; 2 left out as too long" in said[0]


@pytest.mark.parametrize("use", ["train", "validate"])
def test_pairs_that_are_all_too_long_are_said_before_training(use, data, tmp_path):
    long = tmp_path / "long.tsv"
    long.write_text(f"{'very ' * 80}long\t长\n", encoding="utf-8")
    files = {"train": ([long], data.train), "validate": (data.train, [long])}
    with pytest.raises(ValueError, match=f"no pair to {use} on has at most 60 tokens a side"):
        run(Data(*files[use], validation_share=0.0), tmp_path / "out")
    assert not (tmp_path / "out" / "training" / "last.pt").exists()


def test_bad_lines_are_said_with_the_first_line_number(data, tmp_path):
    good = data.train[0].read_text(encoding="utf-8") * 20
    data.train[0].write_text(f"{good}no tab\n", encoding="utf-8")
    said = []
    run(data, tmp_path / "out", said=said)
    assert said[0] == f"{data.train[0]}: 1 line is no pair, the first is 401"


def test_a_run_of_other_data_is_not_continued(data, tmp_path):
    run(data, tmp_path / "out")
    held = [path.read_bytes() for path in (tmp_path / "out" / STATE / "held-out").iterdir()]
    with pytest.raises(ValueError, match="holds a run already"):
        run(data, tmp_path / "out")
    data.train[0].write_text("other\t别的\n" * 20 + "I sleep.\t我\n" * 20, encoding="utf-8")
    with pytest.raises(ValueError, match="other data or settings: data was"):
        run(Data(data.train, validation_share=0.5), tmp_path / "out", resume=True)
    assert held == [p.read_bytes() for p in (tmp_path / "out" / STATE / "held-out").iterdir()]


def test_a_split_that_leaves_nothing_is_said(data, tmp_path):
    with pytest.raises(ValueError, match="the split leaves no pair to validate on"):
        run(Data(data.train, validation_share=0.0), tmp_path / "out")
    with pytest.raises(ValueError, match="the split leaves no pair to train on"):
        run(Data(data.train, validation=data.train), tmp_path / "out")


def test_an_absurd_learning_rate_is_stopped_with_the_batch(data, tmp_path):
    settings = Settings(epochs=9, learning_rate=1e38, warmup=0)
    with pytest.raises(TrainingError, match=r"in epoch \d, batch \d of \d \(\d+ pairs, the first"):
        train_translator(data, tmp_path / "out", settings, OPTIONS, SMALL, say=[].append)


def test_other_language_pairs_use_pieces_on_both_sides(tmp_path):
    path = tmp_path / "de.tsv"
    pairs = [(p.source, p.source.upper()) for p in PAIRS]
    path.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    said = []
    run(Data([path], validation_share=0.2), tmp_path / "out", said=said)
    assert said[1].endswith("(pieces)")
    [result] = Translator.load(tmp_path / "out").translate(["We sleep."])
    assert result.tokens[-1] == "</s>"


def test_evaluation_is_bleu_of_the_saved_model(learnt, tmp_path):
    path = tmp_path / "test.tsv"
    pairs = [*PAIRS, PAIRS[0]]
    path.write_text("".join(f"{p.source}\t{p.target}\n" for p in pairs), encoding="utf-8")
    result = evaluate(learnt, path, bootstrap=10)
    assert (result.score, result.sentences) == (pytest.approx(100), 20)
    assert "tok:zh" in result.signature
    with pytest.raises(ValueError, match="length_penalty must be a number >= 0; got -1"):
        evaluate(learnt, path, length_penalty=-1)


def test_interleaving_takes_of_every_file_in_turn():
    a, b, c = (Pair(letter, letter) for letter in "abc")
    assert interleave({"one": [a, b], "two": [c]}) == [a, c, b]
    assert interleave({}) == []


def test_tasks_load_nothing_heavy_until_needed():
    code = (
        "import sys, qkv.tasks.translation, qkv.tasks.translation.training\n"
        "print({'tokenizers', 'sacrebleu', 'rich', 'tensorboard', 'safetensors', 'typer'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_a_missing_package_is_named_with_what_to_install(monkeypatch, learnt):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    message = "^safetensors is needed here and missing: pip install safetensors$"
    with pytest.raises(ImportError, match=message):
        Translator.load(learnt)
