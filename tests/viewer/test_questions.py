"""What the views ask, against the dense matrix and against what captures answer."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO

import pytest
import torch

pytest.importorskip("starlette")

from made import capture_of, pair_of, patches_of
from test_server import numbers

import qkv
from qkv.capture.call import Call
from qkv.capture.capture import Capture
from qkv.capture.labels import Labels
from qkv.viewer import measured as measured_module
from qkv.viewer.answers import Answers
from qkv.viewer.lines import MOST_SUMS, Lines
from qkv.viewer.measured import measured
from qkv.viewer.subject import At, Source, Subject

TOKENS = ["<s>", "one", "<s>", "two", "</s>", "three", "four", "[SEP]"]


def subject_of(*captures: Capture) -> Subject:
    return Subject([Source(f"source {i}", capture) for i, capture in enumerate(captures)])


def matrices() -> dict[str, qkv.AttentionMatrix]:
    torch.manual_seed(3)
    query, key = 2 * torch.randn(2, 4, 30, 16), 2 * torch.randn(2, 4, 45, 16)
    seen = torch.rand(30, 45) < 0.3
    return {
        "plain": qkv.attention(query, key),
        "causal": qkv.attention(query, key, mask=qkv.Causal(), query_offset="end"),
        "window": qkv.attention(query, key, mask=qkv.Window(3, 2), query_offset=20),
        "padding": qkv.attention(query, key, mask=qkv.Padding(torch.tensor([45, 11]))),
        "dense mask": qkv.attention(query, key, mask=qkv.Dense(seen)),
        "seen by none": qkv.attention(query, key, mask=qkv.Padding(torch.tensor([0, 45]))),
        "slopes": qkv.attention(query, key, bias=qkv.ALiBi(torch.rand(4)), query_offset=0),
        "groups": qkv.attention(query, key[:, :2]),
        "sink": qkv.attention(query, key, normalizer=qkv.Softmax(sink=torch.randn(4))),
        "sparsemax": qkv.attention(query, key, normalizer=qkv.Sparsemax()),
        "sigmoid": qkv.attention(query, key, normalizer=qkv.Sigmoid(-2.0)),
        "dropped": qkv.attention(query, key).dropout(0.4, seed=5),
        "callables": qkv.attention(
            query,
            key,
            bias=[lambda scores, cells: scores + 0.1 * cells.col, qkv.SoftCap(5.0)],
            mask=lambda cells: (cells.row + cells.col + cells.head) % 3 > 0,
        ),
        "additive": qkv.attention(query, key, score=qkv.Additive(torch.randn(16))),
        "sharp": qkv.attention(6 * query, 6 * key),
    }


@pytest.mark.parametrize("name", matrices())
def test_rows_and_columns_are_those_of_the_matrix(name):
    capture, matrix = Capture(), matrices()[name]
    capture.calls.append(Call("layer", "cross", 0, matrix, None, "made"))
    lines = Lines(subject_of(capture))
    for at in (At(0, 0, 3, 0), At(0, 0, 1, 1)):
        dense = matrix[at.entry, at.head].dense()
        for query in (0, 17, 29):
            torch.testing.assert_close(lines.row(at, query), dense[query])
        for key in (0, 10, 44):
            torch.testing.assert_close(lines.column(at, key), dense[:, key], atol=1e-6, rtol=1e-4)


def test_half_types_give_columns_as_exact_as_rows():
    query, key = torch.randn(1, 2, 50, 8).bfloat16(), torch.randn(1, 1, 50, 8).bfloat16()
    capture = Capture()
    matrix = qkv.attention(query, key, mask=qkv.Causal())
    capture.calls.append(Call("layer", "self", 0, matrix, None, "made"))
    wanted = qkv.attention(query.float(), key.float(), mask=qkv.Causal())[0, 1].dense()
    found = Lines(subject_of(capture)).column(At(0, 0, 1, 0), 7)
    torch.testing.assert_close(found, wanted[:, 7], atol=1e-6, rtol=1e-4)


def test_what_columns_are_divided_by_is_computed_once_for_each_head(monkeypatch):
    swept = []
    of_matrix = qkv.AttentionMatrix.logsumexp
    monkeypatch.setattr(
        qkv.AttentionMatrix, "logsumexp", lambda self: swept.append(1) or of_matrix(self)
    )
    lines = Lines(subject_of(capture_of(30)))
    for key in range(5):
        lines.column(At(0, 0, 0, 0), key)
    assert len(swept) == 1
    lines.column(At(0, 0, 1, 0), 3)
    assert len(swept) == 2
    assert MOST_SUMS > 2


@pytest.mark.parametrize("question", ["row", "column"])
def test_they_travel_and_others_are_refused(question):
    answers = Answers(subject_of(capture_of(20)))
    dense = answers.subject.matrix(At(0, 1, 2, 0)).dense()
    at = {"layer": "1", "head": "2", "place": "11"}
    every, found = numbers(answers.answer(question, at))
    wanted = dense[11:12] if question == "row" else dense[:, 11:12]
    assert (every, found.shape) == (1, wanted.shape)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)
    with pytest.raises(IndexError):
        answers.answer(question, {**at, "place": "20"})


def named(capture: Capture, layer: int = 0, entry: int = 0) -> dict:
    values = {"layer": str(layer), "entry": str(entry)}
    return json.loads(Answers(subject_of(capture)).answer("labels", values))


def test_first_and_separator_tokens_are_apart():
    told = named(capture_of(8, tokens=TOKENS))
    assert told["queries"] == told["keys"] == TOKENS
    assert told["apart"] == {"queries": [0, 4, 7], "keys": [0, 4, 7]}


def test_of_an_encoder_and_a_decoder_each_side_has_its_own():
    told = named(pair_of(["a", "b", "</s>"], ["</s>", "x"]), layer=2)
    assert (told["queries"], told["keys"]) == (["</s>", "x"], ["a", "b", "</s>"])
    assert told["apart"] == {"queries": [0], "keys": [0, 2]}


def test_padding_in_front_is_not_the_first_token():
    capture = Capture()
    shown = qkv.Dense(torch.ones(6, 6, dtype=torch.bool).tril() & (torch.arange(6) > 1))
    matrix = qkv.attention(torch.randn(1, 2, 6, 4), torch.randn(1, 2, 6, 4), mask=shown)
    capture.calls.append(Call("layer", "self", 0, matrix, None, "made"))
    assert named(capture)["apart"] == {"queries": [2], "keys": [2]}
    assert named(capture)["queries"] is None


def test_each_entry_of_a_batch_has_its_own_first_token():
    capture = Capture()
    places, empty = torch.arange(7), torch.tensor([0, 3])
    shown = (places >= empty[:, None, None, None]) & (places <= places[:, None])
    query, key = torch.randn(2, 2, 2, 7, 4)
    matrix = qkv.attention(query, key, mask=qkv.Dense(shown))
    capture.calls.append(Call("layer", "self", 0, matrix, None, "made"))
    assert named(capture, entry=0)["apart"] == {"queries": [0], "keys": [0]}
    assert named(capture, entry=1)["apart"] == {"queries": [3], "keys": [3]}


def test_pieces_of_a_word_are_joined():
    capture, text = capture_of(7), "unheard of  是的"
    spans = ((0, 0), (0, 2), (2, 7), (7, 10), (12, 13), (13, 14), (14, 14))
    capture.labelling.given = {"": [Labels(tuple("abcdefg"), spans, text)]}
    told = named(capture)
    assert told["queries"] == ["a", "un", "heard", "of", "是", "的", "g"]
    assert told["joined"] == {"queries": [2, 5], "keys": [2, 5]}


def test_a_picture_travels_as_png():
    image = pytest.importorskip("PIL.Image")
    capture = patches_of(3, 5)
    told = named(capture)
    assert told["pictures"]["keys"] == {"rows": 3, "columns": 5, "before": 1}
    found = Answers(subject_of(capture)).answer("picture", {})
    opened = image.open(BytesIO(found))
    assert (opened.format, opened.size) == ("PNG", (40, 24))
    pixels = torch.frombuffer(bytearray(opened.tobytes()), dtype=torch.uint8).view(24, 40, 3)
    torch.testing.assert_close(pixels, capture.labelling.given[""][0].image)
    assert Answers(subject_of(capture_of(4))).answer("picture", {}) == b""


def test_the_heads_are_those_of_the_capture():
    capture = capture_of(8, tokens=TOKENS)
    answers = Answers(subject_of(capture_of(5), capture))
    wanted = json.loads(qkv.heads(capture).json())["heads"]
    told = [json.loads(answers.answer("heads", {"source": "1", "layer": str(i)})) for i in (0, 1)]
    assert [head for layer in told for head in layer["heads"]] == wanted
    assert [(layer["every"], layer["missing"]) for layer in told] == [(1, None)] * 2


def test_of_many_queries_some_are_measured_and_links_name_their_places(monkeypatch):
    layer = subject_of(capture_of(64)).layer(0, 0)
    monkeypatch.setattr(measured_module, "MOST_CELLS", 3 * 64 * 16)
    monkeypatch.setattr(measured_module, "FEWEST", 1)
    told = measured(layer)
    assert told["every"] == 4
    dense = layer.matrix.dense()[0, :, ::4]
    for head in told["heads"]:
        own = dense[head["head"]]
        assert head["figures"]["queries"] == 16
        entropy = -(own * own.clamp(min=1e-30).log()).sum(-1).mean()
        assert head["figures"]["entropy"] == pytest.approx(float(entropy), rel=1e-4)
        link = head["link"]
        assert link["query"] % 4 == 0
        assert link["weight"] == pytest.approx(
            float(layer.matrix.dense()[0, head["head"], link["query"], link["key"]]), rel=1e-4
        )


def test_weights_that_may_be_negative_are_left_out_with_the_reason():
    layer = subject_of(capture_of(8)).layer(0, 0)
    layer = replace(layer, matrix=replace(layer.matrix, normalizer=qkv.Identity()))
    told = measured(layer)
    assert told["heads"] == []
    assert "needs weights >= 0" in told["missing"]
