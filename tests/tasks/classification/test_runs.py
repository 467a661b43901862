"""Both classifications: repeatable, resumable, the same in several processes, stopped by NaN."""

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from small import ATTENTION, LINES, RUNS, TEXT_SIZES, UNCERTAIN, WRITERS, write_pictures

from qkv.cli.run import run
from qkv.tasks.classification import ImageLabeller, TextLabeller, learning
from qkv.tasks.classification.images import options as images
from qkv.tasks.classification.images.training import train_image_classifier
from qkv.tasks.classification.text.options import Options
from qkv.tasks.classification.text.reading import LabelledText
from qkv.tasks.classification.text.task import TextTask
from qkv.tasks.trainer import run as trainer
from qkv.tasks.trainer.run import TrainingError
from qkv.tasks.trainer.settings import Settings

SCRIPT = str(Path(__file__).parent / "small.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
LABELLERS = {"texts": TextLabeller, "images": ImageLabeller}
RENAMED = {
    "texts": {"lines": [f"{line[0]}{line[3:]}" for line in LINES]},
    "images": {"classes": ("rose", "sea")},
}
BOTH = pytest.mark.parametrize("task", ["texts", "images"])


@pytest.fixture
def data(task, tmp_path):
    return WRITERS[task](tmp_path / ("data.tsv" if task == "texts" else "data.npz"))


def launch(task, data, folder, how, *launcher):
    command = [sys.executable, *launcher, SCRIPT, task, str(data), str(folder), how]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def weights(folder):
    return torch.load(folder / "training" / "last.pt")["model"]


@BOTH
def test_killed_and_resumed_equals_uninterrupted(task, data, tmp_path):
    done = launch(task, data, tmp_path / "killed", "killed")
    assert done.returncode == -signal.SIGKILL, done.stderr
    RUNS[task](data, tmp_path / "killed", resume=True)
    RUNS[task](data, tmp_path / "whole")
    torch.testing.assert_close(
        weights(tmp_path / "killed"), weights(tmp_path / "whole"), rtol=0, atol=0
    )
    for name in ("config.json", "model.safetensors", "run.toml"):
        one, other = ((tmp_path / run / name).read_bytes() for run in ("killed", "whole"))
        assert one == other, name


@BOTH
def test_two_processes_are_one_with_the_same_global_batch(task, data, tmp_path):
    done = launch(task, data, tmp_path / "two", "several", *TORCHRUN)
    assert done.returncode == 0, done.stderr
    sizes = {"texts": TEXT_SIZES, "images": {"architecture": "vit", "channels": 8, "heads": 2}}
    RUNS[task](data, tmp_path / "one", sizes=sizes[task] | UNCERTAIN[task], accumulate=2, clip=0.1)
    torch.testing.assert_close(
        weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("count", [2, 3])
def test_processes_that_share_the_texts_of_each_batch_are_one(count, tmp_path):
    data = WRITERS["texts"](tmp_path / "data.tsv")
    launcher = [*TORCHRUN[:-1], str(count)]
    done = launch("texts", data, tmp_path / "many", "sequences", *launcher)
    assert done.returncode == 0, done.stderr
    RUNS["texts"](data, tmp_path / "one", sizes=ATTENTION | UNCERTAIN["texts"], clip=0.1)
    found, expected = weights(tmp_path / "many"), weights(tmp_path / "one")
    # A bias of all keys moves the scores of a query alike, so softmax leaves it no gradient: what
    # there is of one is rounding, of which Adam makes whole steps.
    for name in ("encoder.layers.0.attention.key.bias", "pooling.attention.key.bias"):
        del found[name], expected[name]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    many, one = (TextLabeller.load(tmp_path / run) for run in ("many", "one"))
    assert many.model.config == one.model.config
    texts = [line.partition("\t")[2] for line in LINES]
    for answer, wanted in zip(many.classify(texts), one.classify(texts), strict=True):
        assert answer.probability == pytest.approx(wanted.probability, abs=1e-3)


@pytest.mark.parametrize(("first", "count"), [(True, 4), (False, 0)])
def test_texts_that_processes_share_are_counted_by_the_first(first, count):
    texts = [LabelledText(*line.split("\t")) for line in LINES[:4]]
    task = TextTask(texts, texts, Options(pieces=256), ATTENTION)
    model, batch = task.model(), task.batches(0)[0]
    task.group = "a group"
    model.sharing = SimpleNamespace(own=model.sharing.own, first=first)
    loss = task.loss(model, batch)
    assert (loss.count, bool(loss.total > 0), loss.total.requires_grad) == (count, first, True)


@pytest.mark.parametrize(
    ("task", "sizes", "what"),
    [
        ("texts", TEXT_SIZES, "the encoder gru"),
        ("texts", ATTENTION | {"encoder": "hybrid"}, "the encoder hybrid"),
        ("images", {}, "an image classifier"),
    ],
)
def test_what_cannot_share_sequences_is_refused_before_data_are_read(task, sizes, what, tmp_path):
    with pytest.raises(ValueError, match=rf"^train: share must be batches for {what}: "):
        RUNS[task](tmp_path / "absent", tmp_path / "out", sizes=sizes, share="sequences")


def test_the_encoder_of_a_model_to_start_from_decides_whether_sequences_are_shared(tmp_path):
    data = WRITERS["texts"](tmp_path / "data.tsv")
    for encoder in (TEXT_SIZES, ATTENTION):
        RUNS["texts"](data, tmp_path / encoder["encoder"], sizes=encoder, steps=1)
    again = {"sizes": {}, "steps": 1, "share": "sequences"}
    RUNS["texts"](data, tmp_path / "a", start_from=tmp_path / "attention", **again)
    with pytest.raises(ValueError, match="for the encoder gru"):
        RUNS["texts"](data, tmp_path / "b", start_from=tmp_path / "gru", **again)


@BOTH
def test_a_loss_that_is_no_number_names_the_batch_and_keeps_the_checkpoint(
    task, data, tmp_path, monkeypatch
):
    original, calls = learning.F.cross_entropy, []

    def cross_entropy(*arguments, **options):
        calls.append(1)
        return original(*arguments, **options) * (torch.nan if len(calls) == 4 else 1)

    monkeypatch.setattr(learning.F, "cross_entropy", cross_entropy)
    kind = {"texts": "texts", "images": "pictures"}[task]
    with pytest.raises(
        TrainingError, match=rf"the loss is nan in epoch 1, batch 4 of \d+ \(\d+ {kind}, the first"
    ):
        RUNS[task](data, tmp_path / "out")
    assert all(value.isfinite().all() for value in weights(tmp_path / "out").values())
    RUNS[task](data, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "model.safetensors").exists()


@BOTH
def test_a_run_of_other_data_or_sizes_is_not_continued(task, data, tmp_path):
    RUNS[task](data, tmp_path / "out", steps=1)
    sizes = {"texts": TEXT_SIZES | {"width": 8}, "images": {"channels": 5}}[task]
    with pytest.raises(ValueError, match=r"(width was 16, is 8|channels was 4, is 5)"):
        RUNS[task](data, tmp_path / "out", sizes=sizes, resume=True)
    with pytest.raises(ValueError, match="holds a run already"):
        RUNS[task](data, tmp_path / "out")


@BOTH
def test_the_processes_start_once_and_before_the_data_are_read(task, tmp_path, monkeypatch):
    started, start = [], trainer.Processes
    monkeypatch.setattr(trainer, "Processes", lambda cpu: started.append(cpu) or start(cpu))
    with pytest.raises(FileNotFoundError):
        RUNS[task](tmp_path / "absent.npz", tmp_path / "out", cpu=True)
    assert started == [True]
    RUNS[task](WRITERS[task](tmp_path / "data.npz"), tmp_path / "out", steps=1)
    assert started == [True, False]


@BOTH
def test_bf16_trains_too_and_the_weights_stay_float32(task, data, tmp_path):
    sizes = {"texts": TEXT_SIZES | {"encoder": "hybrid"}, "images": {"channels": 8}}[task]
    RUNS[task](data, tmp_path / "out", sizes=sizes, steps=2, precision="bf16")
    kinds = {w.dtype for w in weights(tmp_path / "out").values() if w.is_floating_point()}
    assert kinds == {torch.float32}


def gone_on(task, data, others, tmp_path, sizes):
    """A classifier of `data`, and what a step too small to matter on `others` made of it."""
    RUNS[task](data, tmp_path / "first")
    still = {"learning_rate": 1e-9, "steps": 1, "average": 0.0, "start_from": tmp_path / "first"}
    RUNS[task](others, tmp_path / "second", sizes=sizes, **still)
    return [LABELLERS[task].load(tmp_path / run) for run in ("first", "second")]


@BOTH
def test_training_starts_from_a_trained_classifier(task, data, tmp_path):
    first, second = gone_on(task, data, data, tmp_path, {"dropout": 0.2})
    assert asdict(second.model.config) == asdict(first.model.config) | {"dropout": 0.2}
    weights = dict(second.model.named_parameters())
    for name, weight in first.model.named_parameters():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=1e-5)


@BOTH
def test_other_labels_get_a_new_output_layer(task, data, tmp_path):
    others = WRITERS[task](tmp_path / f"others{data.suffix}", **RENAMED[task])
    first, second = gone_on(task, data, others, tmp_path, {})
    assert set(first.labels).isdisjoint(second.labels)
    weights = dict(second.model.named_parameters())
    for name, weight in first.model.named_parameters():
        same = torch.allclose(weights[name], weight, rtol=0, atol=1e-5)
        assert same != name.startswith("output."), name


@BOTH
def test_what_a_trained_classifier_has_is_not_chosen_anew(task, data, tmp_path):
    RUNS[task](data, tmp_path / "first", steps=1)
    sizes = {"texts": {"width": 8}, "images": {"channels": 5}}[task]
    with pytest.raises(ValueError, match=r"must be that of the model to start from, (16|4); got"):
        RUNS[task](data, tmp_path / "second", sizes=sizes, start_from=tmp_path / "first")


def test_a_trained_classifier_keeps_what_it_knows_of_itself(tmp_path):
    data = WRITERS["texts"](tmp_path / "data.tsv")
    train = ["train", "classify", str(data), "--steps", "1", "--out"]
    sizes = ["--encoder", "gru", "--width", "16", "--embedding", "16", "--pieces", "300"]
    told = ["--dropout", "0.4", "--token-dropout", "0.2", "--longest", "4"]
    assert run([*train, str(tmp_path / "first"), *sizes, *told]) == 0
    start = [*train, str(tmp_path / "second"), "--start-from", str(tmp_path / "first")]
    assert run(start) == 0
    first, second = (
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "second")
    )
    assert (second, second["longest"]) == (first, 4)
    again = [*train, str(tmp_path / "third"), "--start-from", str(tmp_path / "second")]
    assert run([*again, "--dropout", "0.3", "--longest", "7"]) == 0
    third = json.loads((tmp_path / "third" / "config.json").read_text())
    assert (third["longest"], third["model"]) == (7, first["model"] | {"dropout": 0.3})


@pytest.mark.parametrize("flips", [None, True, False])
def test_a_trained_classifier_of_pictures_keeps_its_sides(flips, tmp_path):
    data = images.Data(write_pictures(tmp_path / "data.npz"), validation_share=0.3)

    def go(folder, sizes, flips, **start):
        settings, options = Settings(steps=1, **start), images.Options(batch=8, flips=flips)
        train_image_classifier(data, tmp_path / folder, settings, options, sizes, say=[].append)
        return ImageLabeller.load(tmp_path / folder).both_ways

    with pytest.raises(ValueError, match="flips must be true or false; got 1"):
        images.Options(flips=1)
    assert go("fresh", {"channels": 4}, None)
    assert not go("first", {"channels": 4}, False)
    assert go("second", {}, flips, start_from=tmp_path / "first") == bool(flips)


@pytest.mark.parametrize(
    ("command", "given", "message"),
    [
        ("classify", ["--width", "128"], "width must be that of the model to start from, 16; "),
        ("classify", ["--pieces", "8000"], "pieces has no meaning with start_from"),
        ("classify-image", ["--architecture", "attention-cnn"], "model to start from, 'cnn'; got"),
    ],
)
def test_a_default_that_is_given_is_no_size_of_a_trained_classifier(
    command, given, message, tmp_path, capsys
):
    kind = {"classify": "texts", "classify-image": "images"}[command]
    data = WRITERS[kind](tmp_path / f"data.{'tsv' if kind == 'texts' else 'npz'}")
    sizes = {"texts": TEXT_SIZES, "images": {"architecture": "cnn", "channels": 4}}[kind]
    RUNS[kind](data, tmp_path / "first", sizes=sizes, steps=1)
    start = ["--out", str(tmp_path / "out"), "--start-from", str(tmp_path / "first")]
    assert run(["train", command, str(data), *start, "--steps", "1", *given]) == 1
    assert message in capsys.readouterr().err


def test_pictures_of_another_size_do_not_fit_a_trained_classifier(tmp_path):
    RUNS["images"](write_pictures(tmp_path / "a.npz"), tmp_path / "first", steps=1)
    larger = write_pictures(tmp_path / "b.npz", edge=20)
    with pytest.raises(ValueError, match=r"was made for, \[16, 16\]; got \[20, 20\]"):
        RUNS["images"](larger, tmp_path / "second", sizes={}, start_from=tmp_path / "first")
