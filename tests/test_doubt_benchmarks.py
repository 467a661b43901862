"""`benchmarks/doubt.py` and `benchmarks/numbers_kept.py` on what can be counted by hand."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qkv.tasks.translation.pairs import Pair
from qkv.tasks.translation.translation import Translation

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason="the source distribution has no benchmarks"
)


def benchmark(name, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def translation(source, text, score=-0.1, doubt=()):
    made = Translation(source, text, ("a", "</s>"), ("b", "</s>"), ((0, 1), (1, 2)), score)
    return replace(made, suspect=lambda _: doubt)


def test_the_area_is_the_share_of_pairs_in_order(monkeypatch):
    area = benchmark("doubt", monkeypatch).area
    bad = torch.tensor([True, True, False, False])
    assert area(torch.tensor([3.0, 4.0, 1.0, 2.0]), bad) == 1
    assert area(torch.tensor([1.0, 2.0, 3.0, 4.0]), bad) == 0
    assert area(torch.tensor([1.0, 3.0, 1.0, 2.0]), bad) == 2.5 / 4
    assert area(torch.zeros(4), bad) == 0.5


def test_means_and_counts_by_reason(monkeypatch):
    doubt = benchmark("doubt", monkeypatch)
    doubted = ("repeated", "unsure")
    some = [translation("s", "t", -2.0, doubted), *(translation("s", "t") for _ in range(9))]
    found = doubt.figures(some, torch.tensor([10.0, *[20.0] * 9]))
    assert found["means"]["all"] == {"count": 10, "chrf": 19.0}
    assert found["means"]["no doubt"] == {"count": 9, "chrf": 20.0}
    assert found["means"]["– repeated"] == {"count": 1, "chrf": 10.0}
    assert all(ranks[0] == 1 for ranks in found["ranks"].values())
    assert doubt.table({"x": found}).splitlines()[:3] == [
        "|  | x |",
        "| --- | --- |",
        "| all | 19.0 (10) |",
    ]
    assert "| any doubt | 10.0 (1) |" in doubt.table({"x": found})


class Parrot:
    def __init__(self, *texts):
        self.texts = texts

    def translate(self, sources):
        return [translation(*pair) for pair in zip(sources, self.texts, strict=True)]


def test_what_is_kept_and_what_is_asked(monkeypatch):
    numbers = benchmark("numbers_kept", monkeypatch)
    pairs = [Pair("Ms Kowal has 12 men.", "Kowal女士有12人。"), Pair("At 5 pm.", "下午5点。")]
    assert all(map(numbers.asks, pairs))
    assert not numbers.asks(Pair("We sleep.", "我们睡觉。"))
    rows = numbers.kept(pairs, Parrot("女士有十一人", "17点"))
    assert [one.gone for one in rows] == [["12", "Kowal"], []]
    assert numbers.figure(rows).startswith("1 of 2 kept, 50.0 % [9.5, 90.5]")
    assert numbers.listing(rows) == "  12, Kowal\tMs Kowal has 12 men.\t女士有十一人"
    others = numbers.kept(pairs, Parrot("KOWAL有十二人", "4点"))
    assert numbers.listing(rows, others) == (
        "  model loses 12, Kowal\tMs Kowal has 12 men.\t女士有十一人\n"
        "  against loses 5 pm\tAt 5 pm.\t4点"
    )
