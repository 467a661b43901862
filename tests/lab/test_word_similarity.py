"""Similarity of words, on pairs that are made."""

import pytest
import torch
from scipy.stats import spearmanr

from qkv.lab import similarity
from qkv.lab.intervals import interval
from qkv.lab.similarity import RELATED, SETS, SIMILAR, agreement, similarities

GIVEN = {
    RELATED: [("red", "green", 9.0), ("red", "night", 1.0), ("red", "absent", 5.0)],
    SIMILAR: [("green", "night", 2.0)],
}
TEXTS = ["A red, green light: red night.", "The RED one is green's"]


def states(sentences):
    """Of each word its length, whether it is red, and its first letter."""
    return [
        torch.tensor(
            [
                [float(len(word)), float(word == "red"), float(ord(word[0]) - ord("a"))]
                for word in one.words
            ]
        )
        for one in sentences
    ]


def test_without_pairs_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(similarity, "PACKAGE", "no_such_package")
    assert similarities(states, TEXTS, 2) == {}


def test_words_are_compared_by_the_mean_of_their_states(monkeypatch):
    monkeypatch.setattr(similarity, "pairs", lambda: GIVEN)
    similarity._places.cache_clear()
    seen = []
    found = similarities(lambda given: states(seen.extend(given) or given), TEXTS, 2)["similarity"]
    similarity._places.cache_clear()
    # `green's` is another word, and of `red` two places of three are taken, of the others one.
    assert sorted(one.words[:2] for one in seen) == [("a", "red")] * 4
    vectors = torch.tensor([[5.0, 0, 6], [5.0, 0, 13], [3.0, 1, 17]])  # green, night, red
    centred = torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)
    cosines = (centred @ centred.T).tolist()
    assert [judged for judged, _ in found[RELATED]] == [9.0, 1.0]
    expected = [cosines[2][0], cosines[2][1]]
    assert [cosine for _, cosine in found[RELATED]] == pytest.approx(expected, abs=1e-5)
    assert found[SIMILAR] == [[2.0, pytest.approx(cosines[0][1], abs=1e-5)]]


def test_agreement_is_the_rank_correlation():
    generator = torch.Generator().manual_seed(0)
    judged = torch.randint(5, (40,), generator=generator).double()
    cosines = judged + 3 * torch.randn(2, 40, generator=generator)
    records = [
        {"similarity": {name: torch.stack([judged, own], 1).tolist() for name in SETS}}
        for own in cosines
    ]
    found = agreement(records, RELATED).of_seeds().tolist()
    assert found == pytest.approx([spearmanr(judged, own).statistic for own in cosines])
    told = interval(agreement(records, SIMILAR))
    assert told.low < sum(found) / 2 < told.high


@pytest.mark.skipif(not similarity.pairs(), reason="gensim is not installed")
def test_the_sets_of_gensim_are_read():
    found = similarity.pairs()
    assert {name: len(own) for name, own in found.items()} == {RELATED: 352, SIMILAR: 999}
    assert ("old", "new", 1.58) in found[SIMILAR]
