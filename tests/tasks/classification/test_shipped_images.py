"""The classifier of pictures that ships with the package."""

from pathlib import Path

import pytest

from qkv.tasks.classification import ImageLabeller
from qkv.tasks.classification.images.classifier import SHIPPED

CAT = Path(__file__).with_name("cat.png")  # Chelsea, by Stéfan van der Walt, CC0


def test_it_knows_a_cat_and_looks_at_its_face():
    [found] = ImageLabeller.load().classify_files([CAT])
    assert found.label == "cat"
    assert found.weights is not None
    rows = found.weights.sum(1).tolist()
    assert rows.index(max(rows)) in (1, 2)  # of four: the eyes and the nose, not ears or chest
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_it_has_at_most_a_million_and_a_half_parameters():
    model = ImageLabeller.load().model
    assert sum(parameter.numel() for parameter in model.parameters()) <= 1_500_000


def test_its_card_names_data_scores_and_limits():
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    for words in ("Krizhevsky 2009", "qkv train classify-image", "95 %", "not calibrated"):
        assert words in card
