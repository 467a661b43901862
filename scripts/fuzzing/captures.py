"""Damaged files of captures: `qkv.load_capture`."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import load as load_by_safetensors

import qkv
from qkv.biases import BIASES
from qkv.capture.call import Call
from qkv.capture.capture import Capture
from qkv.capture.container import read
from qkv.capture.labels import Labels
from qkv.capture.saved import CALL
from qkv.masks import MASKS
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.stage.custom import Custom
from qkv.testing.examples import Sizes, drawing, examples

from .guard import guarded, limited, refusal_of
from .mutations import applied, of_bytes, of_json, paths
from .target import Target

_SIZES = Sizes(batch=(2,), heads=2, key_heads=1, queries=4, keys=6, width=4)
_FEW_CELLS = 100_000  # of a matrix that is built to be looked at


@dataclass(frozen=True)
class Case:
    """A capture by its number, with damages of what it says, of its header, of its bytes."""

    capture: int
    told: tuple[Any, ...]
    header: tuple[Any, ...]
    content: tuple[Any, ...]


class Captures(Target):
    """A damaged file is loaded as it is, or refused: by ValueError or OSError that name it, before
    memory is taken for what it claims. It runs nothing and opens nothing.

    What is loaded has the tensors that the package safetensors finds in it, and comes back when it
    is saved and loaded again; its matrices answer, or refuse with a reason.
    """

    name = "captures"
    about = "damaged files of captures"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file, self.again = folder / "capture", folder / "again"
        self.contents = [_saved(capture, self.file) for capture in _captures()]
        self.headers = [_parts(content)[0] for content in self.contents]
        self.told = [json.loads(header["__metadata__"]["capture"]) for header in self.headers]
        self.places = [
            (paths(told), paths(header))
            for told, header in zip(self.told, self.headers, strict=True)
        ]
        for content in (*self.contents, b"nothing"):  # all that is imported late is there now
            with suppress(ValueError):
                self._open(content)

    def cases(self) -> st.SearchStrategy[Case]:
        return st.integers(0, len(self.contents) - 1).flatmap(self._of)

    def _of(self, number: int) -> st.SearchStrategy[Case]:
        told, header = (st.lists(of_json(p), max_size=3).map(tuple) for p in self.places[number])
        content = self.contents[number]
        length = len(content)
        damage = of_bytes(length, 8 + int.from_bytes(content[:8], "little"))
        some = st.lists(damage, min_size=1, max_size=3).map(tuple)
        none = st.just(())
        return st.one_of(
            st.builds(Case, st.just(number), told, none, none),
            st.builds(Case, st.just(number), none, header, none),
            st.builds(Case, st.just(number), none, none, some),
        )

    def check(self, case: Case) -> str:
        with limited():
            try:
                capture = self._open(self._damaged(case))
            except (ValueError, OSError) as error:
                return refusal_of(error, self.file)
            self._assert_right(capture)
        return ""

    def _damaged(self, case: Case) -> bytes:
        content = self.contents[case.capture]
        if case.told or case.header:
            header, rest = _parts(content)
            told = json.dumps(applied(case.told, self.told[case.capture]))
            header["__metadata__"]["capture"] = told
            text = json.dumps(applied(case.header, header)).encode()
            text += b" " * (-len(text) % 8)
            content = struct.pack("<Q", len(text)) + text + rest
        return applied(case.content, content)

    def _open(self, content: bytes) -> Capture:
        self.file.unlink(missing_ok=True)  # its tensors may still be in use
        self.file.write_bytes(content)
        with guarded(self.folder):
            return qkv.load_capture(self.file)

    def _assert_right(self, capture: Capture) -> None:
        ours, theirs = read(self.file)[0], load_by_safetensors(self.file.read_bytes())
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            _assert_same_bits(tensor, theirs[name])
        capture.save(self.again)
        again = qkv.load_capture(self.again)
        assert str(again) == str(capture)
        assert again.missed == capture.missed
        assert again.labelling.given.keys() == capture.labelling.given.keys()
        for one, other in zip(again.calls, capture.calls, strict=True):
            assert str([getattr(one, n) for n in CALL]) == str([getattr(other, n) for n in CALL])
            assert repr(one.matrix) == repr(other.matrix)
            _assert_same_bits(one.matrix.query, other.matrix.query)
            if one.matrix.shape.numel() <= _FEW_CELLS:
                _assert_same_answers(one.matrix, other.matrix)


def _assert_same_bits(one: torch.Tensor, other: torch.Tensor) -> None:
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    if one.numel() <= _FEW_CELLS:
        assert (
            one.contiguous()
            .flatten()
            .view(torch.uint8)
            .equal(other.contiguous().flatten().view(torch.uint8))
        )


def _assert_same_answers(one: qkv.AttentionMatrix, other: qkv.AttentionMatrix) -> None:
    """The same matrix, or the same refusal."""
    found: list[Any] = []
    for matrix in (one, other):
        try:
            found.append(matrix.dense())
        except (ValueError, TypeError) as error:
            found.append(refusal_of(error))
    assert type(found[0]) is type(found[1])
    if isinstance(found[0], str):
        assert found[0] == found[1]
    else:
        torch.testing.assert_close(*found, rtol=0, atol=0, equal_nan=True)


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the bytes of the tensors."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _saved(capture: Capture, path: Path) -> bytes:
    capture.save(path)
    return path.read_bytes()


def _captures() -> Iterator[Capture]:
    """One of each stage that a file holds, and one with labels of every kind."""
    for matrix in _matrices():
        capture = Capture()
        capture.calls.append(_call(matrix))
        yield capture
    capture = Capture()
    capture.calls += [_call(next(_matrices())), _call(next(_matrices()))]
    capture.miss("a", "softmax", "no square")
    text, spans = "ab cdé", ((0, 1), (1, 2), (3, 4), (4, 6))
    queries, keys = (
        Labels(tuple("abcdef"[:n]), (*spans, (6, 6), (0, 0))[:n], text) for n in (4, 6)
    )
    capture.labelling.given["decoder"] = [queries, queries]
    capture.labelling.given["encoder"] = [keys, keys]
    yield capture
    capture = Capture()
    capture.calls.append(_call(qkv.attention(torch.randn(1, 5, 2), torch.randn(1, 5, 2))))
    capture.label_image(torch.arange(48, dtype=torch.uint8).view(4, 4, 3), (2, 2))
    yield capture


def _call(matrix: qkv.AttentionMatrix) -> Call:
    return Call(
        module="a.b", kind="self", step=0, matrix=matrix, residual=0.5, function="f", steps=1
    )


def _matrices() -> Iterator[qkv.AttentionMatrix]:
    draw = drawing(3)
    query = draw(2, 2, 4, 4)
    key = draw(2, 1, 6, 4)
    for name, kinds in {
        "score": SCORES, "bias": BIASES, "mask": MASKS, "normalizer": NORMALIZERS
    }.items():  # fmt: skip
        for kind in kinds:
            if not issubclass(kind, Custom):
                stage = examples(kind, _SIZES, draw)[0]
                yield qkv.attention(query, key, query_offset=1, **{name: stage})
    mask = (qkv.Causal() | qkv.Prefix(2)) & ~qkv.Window(0, 0)
    whole = qkv.attention(query, key, mask=mask, query_offset="end", bias=[qkv.SoftCap(2.0)])
    yield whole.dropout(0.3, seed=3)
    yield whole[1]
    yield whole[:, [1, 0]]
    yield qkv.attention(query, key, mask=qkv.Causal(), query_offset=torch.tensor([0, 2]))
