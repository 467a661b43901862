"""What each setting of the trainer does."""

import sys
import tomllib
from pathlib import Path

import pytest
import torch

from qkv.ground.errors import UnsupportedError
from qkv.tasks.trainer.run import train
from qkv.tasks.trainer.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from toy import Toy, Uneven, records, weights


class Keeping(Uneven):
    """Remembers the weights after each step, and those that were validated."""

    def __post_init__(self):
        super().__post_init__()
        self.passed, self.validated = [], []

    def loss(self, model, batch):
        self.passed.append(model[0].weight.detach().clone())
        return super().loss(model, batch)

    def validate(self, model):
        self.validated.append(model[0].weight.detach().clone())
        return super().validate(model)


def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path):
    class Whole(Uneven):
        def batches(self, epoch):
            parts = super().batches(epoch)
            return [torch.cat(parts[:2]), torch.cat(parts[2:4]), parts[4]]

    # A schedule that follows steps: a cosine follows the share of the epoch, and parts differ.
    same = {"epochs": 2, "clip": 1e9, "schedule": "inverse-square-root"}
    train(Uneven(), tmp_path / "parts", Settings(**same, accumulate=2), quiet=True)
    train(Whole(), tmp_path / "whole", Settings(**same), quiet=True)
    for one, other in zip(weights(tmp_path / "parts"), weights(tmp_path / "whole"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    losses = [[r["train_loss"] for r in records(tmp_path / n)] for n in ("parts", "whole")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_the_average_of_the_weights_is_validated_and_saved(tmp_path):
    task = Keeping()
    settings = Settings(epochs=1, average=0.75, learning_rate=0.1, warmup=0)
    train(task, tmp_path, settings, quiet=True)
    last = torch.load(tmp_path / "training" / "last.pt")["model"]["0.weight"]
    expected = task.passed[1]  # the first average is the weights after the first step
    for steps, now in enumerate([*task.passed[2:], last], 1):
        decay = min(0.75, (1 + steps) / (10 + steps))
        expected = decay * expected + (1 - decay) * now
    torch.testing.assert_close(task.validated, [expected])
    assert not torch.allclose(expected, last)
    torch.testing.assert_close(torch.load(tmp_path / "best.pt")["0.weight"], expected)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_averaged_run_is_resumed_exactly(tmp_path, optimizer):
    class Stopped(Toy):
        def loss(self, model, batch):
            if self.calls == 6:
                raise KeyboardInterrupt
            return super().loss(model, batch)

    settings = Settings(epochs=3, average=0.9, save_every=3, optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        train(Stopped(), tmp_path / "stopped", settings, quiet=True)
    train(Toy(), tmp_path / "stopped", settings, resume=True, quiet=True)
    train(Toy(), tmp_path / "whole", settings, quiet=True)
    one, other = (torch.load(tmp_path / name / "best.pt") for name in ("stopped", "whole"))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


class Worse(Toy):
    """Best at its second validation."""

    def validate(self, model):
        super().validate(model)
        return {"accuracy": {1: 0.1, 2: 0.5}.get(len(self.figures), 0.3)}


def test_it_stops_after_so_many_validations_without_a_best(tmp_path, capsys):
    task = Worse()
    train(task, tmp_path, Settings(epochs=50, patience=3))
    assert len(task.figures) == 5
    assert capsys.readouterr().err.endswith("stopped: no better for 3 validations\n")
    again = Worse()
    train(again, tmp_path, Settings(epochs=50, patience=3), resume=True, quiet=True)
    assert again.figures == []
    train(again, tmp_path, Settings(epochs=50, patience=4), resume=True, quiet=True)
    assert len(again.figures) == 1  # the fourth


def test_bf16_is_the_precision_of_products_in_training_alone(tmp_path):
    kinds = []

    class Looking(Toy):
        def loss(self, model, batch):
            kinds.append(model[0](batch).dtype)
            return super().loss(model, batch)

        def validate(self, model):
            kinds.append(model[0](torch.ones(1, 2)).dtype)
            return super().validate(model)

    train(Looking(), tmp_path / "half", Settings(steps=1, precision="bf16"), quiet=True)
    train(Looking(), tmp_path / "full", Settings(steps=1), quiet=True)
    assert kinds == [torch.bfloat16, torch.float32, torch.float32, torch.float32]
    assert all(value.dtype != torch.bfloat16 for value in weights(tmp_path / "half"))


def test_precision_is_what_accelerate_was_told_unless_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    train(Toy(), tmp_path / "told", Settings(steps=1), quiet=True)
    with pytest.raises(ValueError, match="precision was bf16, is float32"):
        train(
            Toy(),
            tmp_path / "told",
            Settings(steps=1, precision="float32"),
            resume=True,
            quiet=True,
        )
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(UnsupportedError, match="one of float32, bf16; got fp16 from accelerate"):
        train(Toy(), tmp_path / "other", Settings(steps=1), quiet=True)


def test_weights_decay_and_biases_do_not(tmp_path):
    class Still(Uneven):
        def loss(self, model, batch):
            loss = super().loss(model, batch)
            return type(loss)(loss.total * 0, loss.count)

    for decay in (0.0, 0.5):
        settings = Settings(
            steps=1, weight_decay=decay, learning_rate=0.1, warmup=0, schedule="inverse-square-root"
        )
        train(Still(), tmp_path / str(decay), settings, quiet=True)
    still, pulled = (torch.load(tmp_path / str(d) / "best.pt") for d in (0.0, 0.5))
    torch.testing.assert_close(pulled["0.weight"], 0.95 * still["0.weight"])
    torch.testing.assert_close(pulled["0.bias"], still["0.bias"], rtol=0, atol=0)


def test_the_configuration_stands_beside_the_model(tmp_path):
    configuration = {
        "train": [Path("a b.tsv"), Path('c"\\.tsv')],
        "rate": 1e-05,
        "flips": True,
        "layers": 2,
        "minutes": None,
        "name": "注意\n\x7f",
    }
    train(Toy(), tmp_path, Settings(steps=1), configuration=configuration, quiet=True)
    written = tomllib.loads((tmp_path / "run.toml").read_text(encoding="utf-8"))
    assert written == {
        "train": ["a b.tsv", 'c"\\.tsv'],
        "rate": 1e-05,
        "flips": True,
        "layers": 2,
        "name": "注意\n\x7f",
    }
