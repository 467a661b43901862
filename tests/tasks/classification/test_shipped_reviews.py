"""The classifier of reviews that ships with the package."""

from pathlib import Path

from qkv.tasks.classification import TextLabeller
from qkv.tasks.classification.text.classifier import SHIPPED

SHORT = Path(__file__).parents[2] / "data" / "short_reviews.tsv"


def test_it_tells_praise_from_blame_and_looks_where_it_is_said():
    labeller = TextLabeller.load()
    praise, blame = labeller.classify(
        [
            "We laughed, we cried, and the acting is superb.",
            "The plot is a terrible mess and I was bored from start to end.",
        ]
    )
    assert (praise.label, blame.label) == ("pos", "neg")
    weights = dict(zip(praise.words, praise.weights.tolist(), strict=True))
    assert weights["superb."] == max(weights.values())


def test_short_reviews_are_right_as_often_as_its_card_says():
    lines = SHORT.read_text(encoding="utf-8").splitlines()
    labels, texts = zip(*(line.split("\t") for line in lines), strict=True)
    found = TextLabeller.load().classify(texts)
    right = {
        label: sum(label == mine == one.label for mine, one in zip(labels, found, strict=True))
        for label in ("pos", "neg")
    }
    assert right == {"pos": 14, "neg": 19}
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert "14 of 20 in praise and 19 of 20 in blame" in card


def test_it_has_at_most_five_million_parameters():
    model = TextLabeller.load().model
    assert sum(parameter.numel() for parameter in model.parameters()) <= 5_000_000


def test_its_card_names_data_scores_and_what_does_better():
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    for words in ("Maas et al. 2011", "qkv train classify", "linear model is better", "95 %"):
        assert words in card
