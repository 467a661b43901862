"""The trainer, with a task that is no translation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qkv.tasks.alone import alone
from qkv.tasks.trainer.run import TrainingError, train
from qkv.tasks.trainer.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from toy import Toy, records, settings, weights


def assert_same(one: Path, other: Path) -> None:
    for first, second in zip(weights(one), weights(other), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert records(one) == records(other)
    best, other_best = (torch.load(folder / "best.pt") for folder in (one, other))
    for name, value in best.items():
        torch.testing.assert_close(value, other_best[name], rtol=0, atol=0)


def test_same_seed_same_run_other_seed_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        chosen = Settings(epochs=2, seed=seed, log_every=1)
        train(Toy(), tmp_path / name, chosen, quiet=True)
    assert_same(tmp_path / "a", tmp_path / "b")
    assert not torch.equal(weights(tmp_path / "a")[0], weights(tmp_path / "c")[0])


@pytest.mark.parametrize("step", [1, 6, 11])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, step):
    script = [sys.executable, str(Path(__file__).parent / "toy.py"), "killed"]
    done = subprocess.run(
        [*script, str(tmp_path / "killed"), str(step)], check=False, capture_output=True
    )
    assert done.returncode == -9, done.stderr
    train(Toy(), tmp_path / "killed", settings(), resume=True, quiet=True)
    train(Toy(), tmp_path / "whole", settings(), quiet=True)
    assert_same(tmp_path / "killed", tmp_path / "whole")


def test_stopped_between_log_and_checkpoint_nothing_is_logged_twice(tmp_path):
    class Stopped(Toy):
        def batches(self, epoch):  # asked for after the validation of the epoch before is logged
            if epoch == 3:
                raise KeyboardInterrupt
            return super().batches(epoch)

    with pytest.raises(KeyboardInterrupt):
        train(Stopped(), tmp_path / "stopped", settings(), quiet=True)
    train(Toy(), tmp_path / "stopped", settings(), resume=True, quiet=True)
    train(Toy(), tmp_path / "whole", settings(), quiet=True)
    assert_same(tmp_path / "stopped", tmp_path / "whole")


def test_a_run_that_another_process_is_at_is_left_to_it(tmp_path):
    train(Toy(), tmp_path, Settings(epochs=1), quiet=True)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with alone(tmp_path / "training" / ".lock") as free:
        assert free
        with pytest.raises(ValueError, match=f"another process is at the run in {tmp_path}"):
            train(Toy(), tmp_path, Settings(epochs=2), resume=True, quiet=True)
    assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    train(Toy(), tmp_path, Settings(epochs=2), resume=True, quiet=True)
    assert not (tmp_path / "training" / ".lock").exists()


def test_a_finished_run_is_left_as_it_is(tmp_path):
    first = train(Toy(), tmp_path, settings(), quiet=True)
    written = records(tmp_path)
    task = Toy()
    assert train(task, tmp_path, settings(), resume=True, quiet=True) == first
    assert records(tmp_path) == written
    assert (task.calls, task.figures) == (0, [])


def test_a_limit_in_mid_epoch_may_be_raised_later(tmp_path):
    """The rate follows the limit, so only the order of the data can be compared."""
    train(Toy(), tmp_path, settings(steps=6), quiet=True)
    assert [r["step"] for r in records(tmp_path) if r["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    train(Toy(), tmp_path, settings(steps=9), resume=True, quiet=True)
    assert [r["step"] for r in records(tmp_path) if r["kind"] == "train"] == [*range(1, 10)]
    assert torch.load(tmp_path / "training" / "last.pt")["position"]["epoch"] == 2


def test_the_best_by_validation_is_kept(tmp_path):
    class Falling(Toy):
        def validate(self, model):
            super().validate(model)
            self.figures[-1] = {1: 0.1, 2: 0.5}.get(len(self.figures), 0.3)
            return {"accuracy": self.figures[-1]}

        def save(self, model, folder):
            super().save(model, folder)
            self.saved = len(self.figures)

    task = Falling()
    figures = train(task, tmp_path, settings(epochs=4), quiet=True)
    assert (task.figures, task.saved, figures["accuracy"]) == ([0.1, 0.5, 0.3, 0.3], 2, 0.3)


def test_of_equally_good_models_that_of_the_smallest_loss_is_kept(tmp_path):
    class Level(Toy):
        def validate(self, model):
            super().validate(model)
            loss = {1: 4.5, 2: 0.5, 3: 0.7, 4: 0.6}[len(self.figures)]
            return {"accuracy": 0.0, "validation_loss": loss}

        def save(self, model, folder):
            super().save(model, folder)
            self.saved = len(self.figures)

    task = Level()
    train(task, tmp_path, settings(epochs=4), quiet=True)
    assert task.saved == 2
    assert torch.load(tmp_path / "training" / "last.pt")["position"]["worse"] == 2


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_learnt(tmp_path):
    (tmp_path / "training").write_text("a file")
    task = Toy()
    with pytest.raises(OSError, match=f"cannot write {tmp_path}/training"):
        train(task, tmp_path, settings(), quiet=True)
    assert task.calls == 0


def test_minutes_count_over_resumptions(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 1))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    train(Toy(), tmp_path, settings(minutes=0.5), quiet=True)
    first = torch.load(tmp_path / "training" / "last.pt")["position"]
    assert 30 <= first["seconds"] < 45
    train(Toy(), tmp_path, settings(minutes=1), resume=True, quiet=True)
    second = torch.load(tmp_path / "training" / "last.pt")["position"]
    assert 60 <= second["seconds"] < 75
    assert second["step"] < 2 * first["step"] + 4


@pytest.mark.parametrize("broken", [1, 6])
def test_a_loss_that_is_no_number_names_the_batch_and_keeps_the_checkpoint(tmp_path, broken):
    where = {1: "epoch 1, batch 1 of 4", 6: "epoch 2, batch 2 of 4"}[broken]
    with pytest.raises(TrainingError, match=f"(?s)the loss is nan in {where} .*last.pt"):
        train(Toy(broken=broken), tmp_path, settings(), quiet=True)
    assert all(value.isfinite().all() for value in weights(tmp_path))
    train(Toy(), tmp_path, settings(), resume=True, quiet=True)
    assert records(tmp_path)[-1]["step"] == 12


def test_a_gradient_that_is_not_finite_stops_too(tmp_path):
    class Steep(Toy):
        def loss(self, model, batch):
            loss = super().loss(model, batch)
            root = (loss.total - loss.total.detach()).sqrt()  # 0, of infinite slope
            return type(loss)(loss.total + root, loss.count)

    with pytest.raises(TrainingError, match="the gradient's norm is nan in epoch 1, batch 1"):
        train(Steep(), tmp_path, settings(), quiet=True)


def test_weights_that_are_not_finite_reach_no_checkpoint(tmp_path):
    wild = Settings(epochs=3, learning_rate=1e39, warmup=0, save_every=1)
    with pytest.raises(TrainingError, match="weights are no longer finite after step 1"):
        train(Toy(), tmp_path, wild, quiet=True)
    assert all(value.isfinite().all() for value in weights(tmp_path))


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    train(Toy(), tmp_path, settings(), quiet=True)
    before = weights(tmp_path)
    with pytest.raises(ValueError, match="holds a run already; resume it or give another folder"):
        train(Toy(), tmp_path, settings(), quiet=True)
    with pytest.raises(ValueError, match="other data or settings: data was line, is curve"):
        train(Toy(data="curve"), tmp_path, settings(), resume=True, quiet=True)
    for first, second in zip(before, weights(tmp_path), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_what_lies_in_the_folder_is_not_overwritten(tmp_path):
    (tmp_path / "training").mkdir()  # of a run that was killed before its first checkpoint
    train(Toy(), tmp_path, settings(), quiet=True)
    (tmp_path / "training" / "last.pt").unlink()
    with pytest.raises(ValueError, match=r"must be new or empty; it holds best\.pt"):
        train(Toy(), tmp_path, settings(), quiet=True)


def test_nothing_to_resume_and_a_damaged_checkpoint_are_said(tmp_path):
    with pytest.raises(ValueError, match=r"holds no run to resume \(.*last.pt is missing\)"):
        train(Toy(), tmp_path, settings(), resume=True, quiet=True)
    train(Toy(), tmp_path, settings(), quiet=True)
    path = tmp_path / "training" / "last.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"last.pt: not a checkpoint"):
        train(Toy(), tmp_path, settings(), resume=True, quiet=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"position": None}, "not a checkpoint: .* must be a mapping"),
        ({"position": {"epochs": 1}}, "not a checkpoint: .* unexpected keyword argument 'epochs'"),
        ({"position": {"epoch": "1"}}, "not a checkpoint: epoch of its position must be int; got"),
        ({"position": {"logged": True}}, "not a checkpoint: logged of its position must be int"),
        ({"position": {"figures": 3}}, "not a checkpoint: figures of its position must be dict"),
        ({"identity": []}, "not a checkpoint: it does not say whose run it is"),
        ({"random": []}, "not a state of this run: "),
        ({"random": [[torch.zeros(3, dtype=torch.uint8)]]}, "not a state of this run: .*RNG"),
        ({"model": {"weight": torch.ones(99)}}, "not a state of this run: "),
        ({"optimizers": []}, "not a state of this run: "),
    ],
)
def test_a_checkpoint_that_lies_is_refused_by_its_name(changes, said, tmp_path):
    train(Toy(), tmp_path, settings(), quiet=True)
    path = tmp_path / "training" / "last.pt"
    torch.save(torch.load(path, weights_only=True) | changes, path)
    with pytest.raises(ValueError, match=rf"last\.pt: {said}"):
        train(Toy(), tmp_path, settings(), resume=True, quiet=True)


def test_a_checkpoint_that_lacks_something_is_refused_by_its_name(tmp_path):
    train(Toy(), tmp_path, settings(), quiet=True)
    path = tmp_path / "training" / "last.pt"
    state = torch.load(path, weights_only=True)
    for name in ("position", "identity", "model", "random"):
        torch.save({key: value for key, value in state.items() if key != name}, path)
        with pytest.raises(ValueError, match=rf"last\.pt: not a .*'{name}'"):
            train(Toy(), tmp_path, settings(), resume=True, quiet=True)


def test_learning_goes_down_and_tensorboard_gets_the_figures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fast = Settings(epochs=40, learning_rate=0.03)
    train(Toy(), tmp_path, fast, quiet=True)
    written = records(tmp_path)
    losses = [r["train_loss"] for r in written if r["kind"] == "validation"]
    assert losses[-1] < losses[0] / 2
    events = EventAccumulator(str(tmp_path / "training" / "tensorboard")).Reload()
    scalars = [event.value for event in events.Scalars("validation/train_loss")]
    assert scalars == pytest.approx(losses)


def test_off_a_terminal_progress_is_plain_lines(tmp_path, capsys):
    train(Toy(), tmp_path, settings(epochs=1))
    planned, *shown = capsys.readouterr().err.splitlines()
    assert planned == "4 steps at most, the rate rises over 2: few to learn anything in"
    assert shown[0].startswith("epoch 1  step 1  loss ")
    assert "points/s  25% done, " in shown[0]
    assert shown[-1].startswith("epoch 1, step 4, ")
    assert "accuracy" in shown[-1]
    assert shown[-1].endswith("(best)")


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX can")
def test_a_full_disk_leaves_the_last_checkpoint_and_no_part(tmp_path):
    """A limit on the size of files stands in for the disk's end."""
    train(Toy(), tmp_path, settings(), quiet=True)
    before = weights(tmp_path)
    code = (
        "import resource, sys, pathlib; sys.path.insert(0, sys.argv[2]); import toy\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "toy.train(toy.Toy(), folder, toy.settings(epochs=5), resume=True, quiet=True)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert f"cannot write {tmp_path}" in done.stderr.splitlines()[-1]
    assert [p for p in tmp_path.rglob("*") if p.name.startswith(".")] == []
    for first, second in zip(before, weights(tmp_path), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
