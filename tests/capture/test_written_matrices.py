"""Matrices in a file: every stage comes back with the same weights, bit for bit, and what is no
stage of qkv, or does not fit, is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import qkv
from qkv.capture.container import Malformed, read, write
from qkv.capture.stages import STAGES, Stored, Tensors, matrix_of_told, told_of_matrix
from qkv.masks.base import And, Mask, Not, Or
from qkv.matrix.matrix import AttentionMatrix
from qkv.normalizers.base import Normalizer
from qkv.request.shards import Shards, held_in_order
from qkv.scores.base import Score
from qkv.scores.cosine import CosineOfDirections
from qkv.stage.dropout import Dropout
from qkv.testing.examples import Sizes, drawing, examples

SIZES = Sizes()
APART = {
    And: [qkv.Causal() & qkv.Prefix(3)],
    Or: [qkv.Window(1, 0) | qkv.Prefix(2)],
    Not: [~qkv.Causal()],
    CosineOfDirections: [CosineOfDirections(2.0)],
    Dropout: [Dropout.of(0.3, 5, torch.device("cpu"))],
}


def some(**options: Any) -> AttentionMatrix:
    draw = drawing(0)
    query = draw(*SIZES.lead, SIZES.queries, SIZES.width)
    key = draw(*SIZES.key_lead, SIZES.keys, SIZES.width)
    return qkv.attention(query, key, **({"query_offset": 1} | options))


def with_stage(stage: Any) -> AttentionMatrix:
    if isinstance(stage, Dropout):
        return replace(some(), dropped=stage)
    kinds = {Score: "score", Mask: "mask", Normalizer: "normalizer"}
    name = next((name for kind, name in kinds.items() if isinstance(stage, kind)), "bias")
    return some(**{name: stage})


def told(matrix: AttentionMatrix, path: Path) -> Any:
    """The JSON of a matrix whose tensors are in the file."""
    tensors = Tensors()
    value = told_of_matrix(matrix, tensors, "m")
    with path.open("wb") as file:
        write(file, tensors.named, {})
    return json.loads(json.dumps(value))


def again(matrix: AttentionMatrix, path: Path) -> AttentionMatrix:
    value = told(matrix, path)
    named, _ = read(path)
    stored = Stored(named)
    found = matrix_of_told(value, stored, "m")
    assert stored.used == named.keys()
    return found


@pytest.mark.parametrize("kind", STAGES.values(), ids=STAGES)
def test_every_stage_comes_back_with_the_same_weights(kind, tmp_path):
    for stage in APART.get(kind) or examples(kind, SIZES, drawing(1)):
        matrix = with_stage(stage)
        found = again(matrix, tmp_path / "file")
        assert repr(found) == repr(matrix)
        assert torch.equal(found.dense(), matrix.dense())


@pytest.mark.parametrize(
    "matrix",
    [
        some(bias=[torch.ones(4, 1, 1), qkv.SoftCap(2.0), torch.full((5, 6), -torch.inf)]),
        some(normalizer=qkv.Softmax(-torch.inf)),
        some(normalizer=qkv.Softmax(1)),
        some(query_offset=torch.tensor([1, 0]), mask=qkv.Causal()),
        some(impl="tiled"),
        some()[:, [3, 1]],
        some()[1],
        some()[1, 2],
        replace(some(mask=qkv.Causal()), rows=torch.tensor([4, 0])),
        some().dropout(0.5, 1)[0],
        qkv.attention(torch.randn(4, 3).bfloat16(), torch.randn(7, 3).bfloat16()),
        qkv.attention(torch.randn(2, 4, 0), torch.randn(2, 7, 0), bias=torch.randn(2, 4, 7)),
        qkv.attention(torch.randn(2, 3, 4, 8), qkv.prepare(torch.randn(2, 3, 5, 8), qkv.Cosine())),
        qkv.attention(torch.randn(1, 4, 8, requires_grad=True), torch.randn(1, 4, 8)),
    ],
    ids=repr,
)
def test_whatever_is_composed_comes_back(matrix, tmp_path):
    found = again(matrix, tmp_path / "file")
    assert torch.equal(found.dense(), matrix.detach().dense())
    assert repr(found) == repr(matrix)
    assert not found.query.requires_grad


def test_order_in_memory_and_repetitions_are_kept(tmp_path):
    query = torch.randn(2, 9, 4, 64).transpose(1, 2)
    key = torch.randn(1, 1, 9, 64).expand(2, 2, 9, 64)
    allowed = (torch.randn(9, 9) > -1).expand(2, 4, 9, 9)
    matrix = qkv.attention(query, key, mask=qkv.Dense(allowed))
    found = again(matrix, tmp_path / "file")
    assert found.query.stride() == query.stride()
    assert found.key.stride() == key.stride()
    assert torch.equal(found.dense(), matrix.dense())
    assert (tmp_path / "file").stat().st_size < 4 * (2 * 9 * 4 * 64 + 9 * 64) + 1000


def test_a_tensor_of_several_places_is_written_once(tmp_path):
    tensors = Tensors()
    query, mask = torch.randn(2, 50, 8), qkv.Dense(torch.rand(50, 50) > 0.1)
    for name in ("a", "b"):
        told_of_matrix(qkv.attention(query, query, mask=mask), tensors, name)
    assert set(tensors.named) == {"a.query", "a.mask.allowed"}


def test_autocast_changes_nothing_of_what_is_read(tmp_path):
    matrix = some(bias=torch.ones(5, 6)).to(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert again(matrix, tmp_path / "file").dtype is torch.float32


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        (some(mask=lambda cells: cells.row >= cells.col), "m.mask"),
        (some(bias=[qkv.SoftCap(1.0), lambda scores, cells: scores]), "m.bias.1"),
        (some(score=lambda query, key, cells: query @ key.mT), "m.score"),
        (some(normalizer=lambda scores, visible: scores), "m.normalizer"),
    ],
)
def test_functions_of_a_user_are_refused(matrix, name, tmp_path):
    with pytest.raises(TypeError, match=f"^save: {name} is .<function.*, which is a user's code"):
        told(matrix, tmp_path / "file")


def test_a_class_of_a_users_own_is_refused_though_it_has_the_name_of_ours(tmp_path):
    class Causal(qkv.Causal):
        pass

    with pytest.raises(TypeError, match=r"save: m.mask is 'a Causal', which is a user's code"):
        told(some(mask=Causal()), tmp_path / "file")


def test_a_share_of_a_matrix_is_refused(tmp_path):
    held = held_in_order([5, 5])
    shared = replace(some(), shards=Shards(None, 0, held, held))
    with pytest.raises(TypeError, match="save: m is shared by 2 processes"):
        told(shared, tmp_path / "file")


def at(*path: str | int) -> Callable[[Any, Any], None]:
    """Puts a value in a place of a JSON value."""

    def put(value: Any, new: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        if new is KeyError:
            del value[path[-1]]
        else:
            value[path[-1]] = new

    return put


SEED = {"tensor": "m.mask.left.lengths"}
TABLE = {"tensor": "m.table"}
DROPOUT: Any = {"stage": "Dropout"}
GRID: Any = {"stage": "GridBias"}
WINDOW = {"stage": "Window", "fields": {"left": 1, "right": 2}}
HOSTILE: list[tuple[Callable[[Any, Any], None], Any, str]] = [
    (at("query"), KeyError, "m must have query, key, score"),
    (at("more"), 1, "m must have query, key, score"),
    (at("query"), None, "m.query must name a tensor; got None"),
    (at("query"), {"tensor": "gone"}, "m.query is the tensor 'gone', which is not in the file"),
    (at("query"), {"tensor": ["m.query"]}, "which is not in the file"),
    (at("query", "order"), [0, 1, 2, 4], r"m.query has the order \[0, 1, 2, 4\] of 4 dimensions"),
    (at("query", "order"), [0, 0, 1, 2], "m.query has the order"),
    (at("query", "shape"), [2, 4, 5, 99], r"m.query has the shape \[2, 4, 5, 99\]; it is"),
    (at("query", "shape"), [2, 4, 5], "m.query has the shape"),
    (at("query", "shape"), "wide", "m.query has the shape 'wide'"),
    (at("mask", "fields", "left", "fields", "lengths", "shape"), [9], "must name a tensor"),
    (at("key"), {"tensor": "m.mask.left.lengths"}, "m: attention: key must be floating"),
    (at("query"), {"tensor": "m.mask.left.lengths"}, "m: attention: query must be floating"),
    (at("score"), None, "m.score is None, which is none"),
    (at("score"), WINDOW, "m.score is .*Window.*, which is none"),
    (at("score", "stage"), "CustomScore", "m.score is a stage 'CustomScore', which this version"),
    (at("score", "stage"), "os.system", "is a stage 'os.system', which this version does not know"),
    (at("score", "stage"), ["Dot"], r"is a stage \['Dot'\], which this version does not know"),
    (at("score", "fields"), {}, r"m.score \(Dot\) must have scale; got ''"),
    (at("score", "fields", "more"), 1, r"m.score \(Dot\) must have scale; got 'scale, more'"),
    (at("score", "fields", "scale"), "1", "m.score.scale must name a tensor; got '1'"),
    (at("score", "fields", "scale"), True, r"m.score.scale \(Dot\) is True, which is none"),
    (at("score", "fields", "scale"), {"number": "inf"}, "m.score: Dot: scale must be finite"),
    (at("score", "fields", "scale"), {"number": "1e9"}, "is '1e9', which is no number"),
    (at("bias"), None, "m.bias is None, which are no biases"),
    (at("bias"), [WINDOW], "m.bias is .*, which are no biases"),
    (at("bias", 0, "fields", "limit"), -1.0, "m.bias.0: SoftCap: limit must be positive"),
    (at("mask"), 3, "m.mask is 3, which is none"),
    (at("mask", "fields", "right"), None, r"m.mask.right \(And\) is None, which is none"),
    (at("mask", "fields", "right"), WINDOW | {"fields": {"left": -1, "right": 0}}, "left must be"),
    (at("mask", "fields", "left", "fields", "lengths"), {"tensor": "m.query"}, "integer tensor"),
    (at("normalizer"), WINDOW, "m.normalizer is .*, which is none"),
    (at("offset"), "middle", "m.offset must name a tensor"),
    (at("offset"), 2**70, "m: attention: query_offset must lie in"),
    (at("offset"), 0.5, "m: attention: query_offset must be an int"),
    (at("offset"), {"tensor": "m.query"}, "query_offset must be a strided tensor of integers"),
    (at("dropout"), DROPOUT | {"fields": {"probability": 1.5, "seed": SEED}}, "p must be in"),
    (
        at("dropout"),
        DROPOUT | {"fields": {"probability": 0.5, "seed": {"tensor": "m.query"}}},
        "m.dropout: dropout: seed must be a single integer",
    ),
    (at("bias"), [GRID | {"fields": {"rows": TABLE, "columns": TABLE, "width": 0}}], "width must"),
    (at("bias"), [GRID | {"fields": {"rows": SEED, "columns": SEED, "width": 1}}], "rows must"),
    (at("dropout"), WINDOW, "m.dropout is .*, which is none"),
    (at("impl"), "cuda", "m: attention: impl must be one of"),
    (at("impl"), ["auto"], "m: attention: impl must be one of"),
    (at("rows"), {"tensor": "m.query"}, "m.rows must be int64 of one dimension"),
    (at("rows"), {"tensor": "m.mask.left.lengths"}, r"m.rows has places outside of 0 ... 4"),
    (at("chosen"), [None], r"m.chosen must have an entry for each of \[2, 4\]"),
    (at("chosen"), [None, 3], "m.chosen has an entry that is none"),
    (at("chosen"), [None, [None, False]], "m.chosen must be int64 of one dimension"),
    (at("chosen"), [[{"tensor": "m.mask.left.lengths"}, True], None], "places outside of 0 ... 1"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(HOSTILE)))
def test_what_does_not_fit_is_refused_by_its_name(case, tmp_path):
    put, new, reason = HOSTILE[case]
    mask = qkv.Padding(torch.tensor([6, 5])) & qkv.Causal()
    value = told(some(mask=mask, bias=qkv.SoftCap(3.0)), tmp_path / "file")
    named, _ = read(tmp_path / "file")
    assert matrix_of_told(value, Stored(named), "m").shape == (2, 4, 5, 6)
    named["m.table"] = torch.zeros(4, 3)
    put(value, new)
    with pytest.raises(Malformed, match=reason):
        matrix_of_told(value, Stored(named), "m")


def test_a_repetition_of_exabytes_takes_no_memory(tmp_path):
    matrix = qkv.attention(torch.randn(1, 1, 4, 8), torch.randn(1, 1, 4, 8))
    value = told(matrix, tmp_path / "file")
    value["query"]["shape"] = [2**50, 1, 4, 8]
    named, _ = read(tmp_path / "file")
    assert matrix_of_told(value, Stored(named), "m").shape[0] == 2**50


def test_vectors_without_width_may_be_many_and_take_no_memory(tmp_path):
    matrix = qkv.attention(torch.zeros(1, 4, 0), torch.zeros(1, 4, 0), mask=qkv.Causal())
    value = told(matrix, tmp_path / "file")
    named = {f"m.{name}": torch.zeros(1, 2**50, 0) for name in ("query", "key")}
    assert matrix_of_told(value, Stored(named), "m").shape == (1, 2**50, 2**50)


def test_a_stage_tensor_of_another_size_is_refused(tmp_path):
    value = told(some(bias=torch.ones(5, 6), query_offset=0), tmp_path / "file")
    named, _ = read(tmp_path / "file")
    named["m.bias.0.values"] = torch.ones(5, 7)
    with pytest.raises(Malformed, match="m: attention: bias must be broadcastable"):
        matrix_of_told(value, Stored(named), "m")
