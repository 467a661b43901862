"""Classifiers as studies train them, and the linear one beside scikit-learn's."""

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from qkv.lab.encoders import ATTENTION, LSTM
from qkv.lab.fair import parameters
from qkv.lab.linear import LinearText
from qkv.lab.texts import Split, learnt, makers, sizes, some
from qkv.tasks.classification.text.reading import LabelledText

WORDS = ("lovely", "brilliant", "moving"), ("awful", "dreadful", "boring")
TEXTS = [
    LabelledText(label, f"The {subject} number {n} was {word} for me and {n % 3} others")
    for n, subject in enumerate(("film", "story", "actor", "song", "scene", "ending") * 2)
    for label, words in zip(("pos", "neg"), WORDS, strict=True)
    for word in words
]
BUDGET = {"longest": 9, "epochs": 8, "batch_tokens": 100, "pieces": 300}


def test_a_run_learns_and_is_the_same_again(tmp_path, one_thread):
    chosen = some(TEXTS, len(TEXTS))
    split = Split(chosen[24:], chosen[:12], chosen[12:24])
    records = [
        learnt(split, sizes(LSTM, 16), BUDGET, seed=1, rate=0.02, folder=tmp_path / name)
        for name in "ab"
    ]
    for record in records:
        assert record.pop("training") > 0
    assert records[0] == records[1]
    assert records[0]["right"].count("1") >= 11
    assert records[0]["validation"] > 90
    assert records[0]["parameters"] == parameters(makers(2)[LSTM](16))


def test_some_texts_are_the_same_whatever_their_order():
    assert some(TEXTS, 10) == some(TEXTS[::-1], 10)
    assert len({one.text for one in some(TEXTS, 10)}) == 10


def test_only_models_with_self_attention_have_heads():
    assert "heads" not in sizes(LSTM, 8)
    assert sizes(ATTENTION, 8)["heads"] == 4


def test_the_linear_classifier_is_scikit_learns():
    texts, labels = [one.text for one in TEXTS], [one.label for one in TEXTS]
    model = LinearText(texts[::2], labels[::2], strength=10.0)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    features = vectorizer.fit_transform(texts[::2])
    assert sorted(model.columns) == sorted(vectorizer.get_feature_names_out())
    order = [model.columns[name] for name in vectorizer.get_feature_names_out()]
    ours = model._features(texts).to_dense()[:, order]
    theirs = torch.tensor(vectorizer.transform(texts).toarray(), dtype=torch.float32)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    # Two vectors of weights that are each other's negative are pulled half as much as their
    # difference.
    logistic = LogisticRegression(C=20.0, max_iter=1000, tol=1e-8).fit(features, labels[::2])
    difference = model.weights[order, 1] - model.weights[order, 0]
    expected = torch.tensor(logistic.coef_[0], dtype=torch.float32)
    torch.testing.assert_close(difference, expected, atol=2e-2, rtol=1e-2)
    assert model.classify(texts) == list(logistic.predict(vectorizer.transform(texts)))


def test_a_text_without_known_words_gets_a_label():
    model = LinearText(["good day", "good", "bad day", "bad"], ["a", "a", "b", "b"], 1.0)
    assert model.classify(["", "unheard of"])[0] in ("a", "b")
