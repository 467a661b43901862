"""Sentences with trees, states of their words, and what linear probes read from them."""

import pytest
import torch
from trees import LINES

from qkv.lab.logistic import fitted
from qkv.lab.probes import (
    DISTANCE,
    PART,
    RELATION,
    TASKS,
    Read,
    _Drawn,
    _labels,
    accuracy,
    probed,
    selectivity,
)
from qkv.lab.syntax import Sentence, read_conllu
from qkv.lab.word_states import mean_of_pieces, word_states
from qkv.tasks.tokens import Tokens


@pytest.fixture
def sentences(tmp_path):
    path = tmp_path / "some.conllu"
    path.write_text(LINES)
    return read_conllu(path)


def test_sentences_are_read_with_their_trees(sentences):
    assert [one.document for one in sentences] == [0, 0, 1]
    assert sentences[0].words == ("The", "old", "man", "'s", "dog", "slept", ".")
    assert sentences[0].heads == (2, 2, 4, 2, 5, -1, 5)
    assert sentences[0].relations[2] == "nmod:poss"
    assert sentences[2].words[0] == "1000"
    assert sentences[2].text == "1000 dogs ate the bone"


def test_a_file_that_is_no_conllu_is_an_error(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_text("# newdoc\n1\tThe\n")
    with pytest.raises(ValueError, match=r"a\.conllu: line 2 is not of CoNLL-U"):
        read_conllu(path)


def test_each_task_has_its_labels(sentences):
    first = sentences[0]
    assert _labels(PART, first) == ["DET", "ADJ", "NOUN", "PART", "NOUN", "VERB", ""]
    assert _labels(RELATION, first) == ["det", "amod", "nmod", "case", "nsubj", "", ""]
    assert _labels(DISTANCE, first) == ["2", "1", "2", "-1", "1", "root", ""]
    far = Sentence(0, ("w",) * 9, ("X",) * 9, ("dep",) * 9, (8, *range(8)))
    assert _labels(DISTANCE, far)[:2] == ["5", "-1"]


def test_the_control_gives_a_word_one_label_as_often_as_labels_come():
    draw = _Drawn(["A"] * 90 + ["B"] * 10, seed=3)
    labels = draw.labels([f"w{n}" for n in range(2000)])
    assert labels == draw.labels([f"w{n}" for n in range(2000)])
    assert labels.count("A") / 2000 == pytest.approx(0.9, abs=0.03)
    assert labels != _Drawn(["A"] * 90 + ["B"] * 10, seed=4).labels([f"w{n}" for n in range(2000)])


def made(words, count, seed):
    """Sentences of pairs "noun verb" whose words are drawn of so many; the noun's head is the
    verb."""
    generator = torch.Generator().manual_seed(seed)
    return [
        Sentence(n % 20, (f"n{a}", f"v{b}"), ("NOUN", "VERB"), ("nsubj", "root"), (1, -1))
        for n, (a, b) in enumerate(torch.randint(words, (count, 2), generator=generator).tolist())
    ]


def records(states):
    """What probes make of `states(sentence)`, with three seeds."""
    learn, test = (made(40, 300, seed) for seed in (0, 1))
    read = [Read(some, [states(one) for one in some]) for some in (learn, test)]
    return [probed(*read, seed=seed) for seed in range(3)]


def test_a_probe_reads_what_is_there_and_no_control(one_thread):
    found = records(lambda one: torch.eye(2))
    for task in (PART, DISTANCE):
        assert accuracy(found, task).of_seeds().tolist() == [100.0] * 3
        assert accuracy(found, task).sums.shape == (3, 20, 3)
        assert (selectivity(found, task).of_seeds() > 25).all()


def test_a_probe_of_words_alone_is_not_selective(one_thread):
    def one_hot(one):
        numbers = torch.tensor([int(word[1:]) for word in one.words]) + torch.tensor([0, 40])
        return torch.nn.functional.one_hot(numbers, 80).float()

    found = records(one_hot)
    assert accuracy(found, PART).of_seeds().tolist() == [100.0] * 3
    assert selectivity(found, PART).of_seeds().abs().max() < 1


def test_a_relation_is_read_from_both_words(one_thread):
    """The label depends on the head's state alone."""

    def relations(some, which):
        return [
            Sentence(0, one.words, one.parts, (f"r{kind}", "root"), one.heads)
            for one, kind in zip(some, which, strict=True)
        ]

    generator = torch.Generator().manual_seed(0)
    kinds = torch.randint(2, (2, 100), generator=generator)
    read = [
        Read(relations(made(40, 100, n), kinds[n].tolist()),
             [torch.tensor([[0.5], [float(kind)]]) for kind in kinds[n]])
        for n in range(2)
    ]  # fmt: skip
    (right, control, words) = probed(*read, seed=0)[RELATION][0]
    assert (right, words) == (100, 100)
    assert control < 100
    assert set(probed(*read, seed=0)) == set(TASKS)


def test_the_state_of_a_word_is_the_mean_of_its_pieces():
    states = torch.tensor([[1.0], [2.0], [4.0], [9.0], [7.0]])
    found = mean_of_pieces(states, [None, 0, 0, 2], 3)
    assert found.tolist() == [[3.0], [0.0], [9.0]]


def test_states_of_words_are_those_of_each_sentence_alone(sentences, one_thread):
    tokens = Tokens.train("pieces", [one.text for one in sentences], 300, lowercase=True)
    table = torch.nn.Embedding(tokens.size, 5).requires_grad_(False)

    def read(numbers, lengths):
        return table(numbers)

    together = word_states(read, tokens, sentences)
    assert [len(states) for states in together] == [7, 2, 5]
    for one, states in zip(sentences, together, strict=True):
        assert torch.equal(word_states(read, tokens, [one])[0], states)
        numbers = tokens.encode([one.words[1]])[0][:-1]
        torch.testing.assert_close(states[1], table(torch.tensor(numbers)).mean(0))


def test_dense_and_sparse_features_give_the_same(one_thread):
    features, classes = torch.randn(40, 6).relu(), torch.arange(40) % 3
    dense, sparse = (
        fitted(some, classes, 3, strength=1.0, iterations=50)
        for some in (features, features.to_sparse())
    )
    torch.testing.assert_close(dense, sparse, atol=1e-3, rtol=1e-3)
