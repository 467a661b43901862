"""`benchmarks/with_and_without.py`: what it hands on, and what it makes of accuracies."""

import json
import sys
from pathlib import Path

import numpy
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
benchmark = pytest.importorskip("with_and_without", reason="the source distribution has none")


def test_what_follows_the_dashes_goes_to_training(tmp_path, monkeypatch, capfd):
    chance = numpy.random.default_rng(0)
    images = chance.integers(0, 256, (40, 8, 8, 3), dtype=numpy.uint8)
    data = tmp_path / "pictures.npz"
    numpy.savez(data, images=images, labels=numpy.arange(40) % 2, classes=["red", "blue"])
    runs = tmp_path / "runs"
    own = [data, data, runs, "--seeds", 2, "--minutes", 1, "--threads", 1]
    others = ["--steps", 1, "--channels", 4, "--batch", 8]
    monkeypatch.setattr(sys, "argv", ["with_and_without.py", *map(str, [*own, "--", *others])])
    benchmark.main()
    found = json.loads((runs / "figures.json").read_text())["figures"]
    assert {name: len(each) for name, each in found["accuracies"].items()} == {
        "attention-cnn": 2, "cnn": 2,
    }  # fmt: skip
    for name in found["accuracies"]:
        for seed in range(2):
            configuration = (runs / f"{name}-{seed}" / "run.toml").read_text().splitlines()
            for line in ("channels = 4", "steps = 1", f"seed = {seed}"):
                assert line in configuration
            assert f'architecture = "{name}"' in configuration
    low, high = found["interval"]
    assert low <= found["difference"] <= high
    assert "difference" in capfd.readouterr().out


def test_the_interval_of_the_difference_is_students_over_pairs():
    found = benchmark.difference({"attention-cnn": [0.9, 0.8, 0.7], "cnn": [0.8, 0.6, 0.4]})
    # gains 0.1, 0.2, 0.3: mean 0.2, deviation 0.1; 4.303 * 0.1 / sqrt(3)
    assert found["difference"] == pytest.approx(0.2)
    assert found["interval"] == pytest.approx([0.2 - 0.24843, 0.2 + 0.24843], abs=1e-4)
