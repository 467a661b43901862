"""What a linear model makes of labelled texts: TF-IDF of words and pairs of words, then logistic
regression. Needs scikit-learn.

    python benchmarks/linear_reviews.py TRAIN TEST [--longest WORDS]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from qkv.tasks.classification.accuracy import Accuracy
from qkv.tasks.classification.text.classifier import first_words
from qkv.tasks.classification.text.reading import read_texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--longest", type=int, help="words of a text that are read")
    given = parser.parse_args()
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        LogisticRegression(C=10.0, max_iter=1000),
    )
    model.fit(*_read(given.train, given.longest))
    texts, labels = _read(given.test, given.longest)
    print(Accuracy.of(list(model.predict(texts)), labels))


def _read(path: Path, longest: int | None) -> tuple[list[str], list[str]]:
    """The texts, cut as the classifier reads them, and their labels."""
    found = read_texts(path).texts
    return [" ".join(first_words(one.text, longest)) for one in found], [one.label for one in found]


if __name__ == "__main__":
    main()
