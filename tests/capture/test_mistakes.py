"""What is asked wrongly of a capture is told by name; odd calls and odd labels are no mistakes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

import qkv
from qkv.capture.similarity import similarity

X = torch.randn(2, 4, 5, 8, generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    """One call of torch's function."""

    def forward(self, query: Tensor, key: Tensor, **options: Any) -> Tensor:
        """Attention."""
        return F.scaled_dot_product_attention(query, key, key, **options)


def captured(query: Tensor = X, key: Tensor | None = None, heads: Any = None, **options) -> Any:
    model = Plain()
    with qkv.observe(model, heads=heads) as capture:
        model(query, query if key is None else key, **options)
    return capture


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"where": []}, ValueError, "where must name modules; got no pattern"),
        ({"heads": 3}, TypeError, "heads must be a list of numbers of heads; got 3"),
        ({"heads": "01"}, TypeError, "heads must be a list of numbers of heads; got '01'"),
        ({"heads": [1.5]}, TypeError, r"heads must be integers; got \[1.5\]"),
        ({"heads": [True]}, TypeError, r"heads must be integers; got \[True\]"),
    ],
)
def test_of_observing(options, kind, text) -> None:
    with pytest.raises(kind, match=text), qkv.observe(Plain(), **options):
        pass


def test_the_model_itself_is_named_by_an_empty_path() -> None:
    model = nn.ModuleDict({"a": Plain()})
    with qkv.observe(model, where="") as capture:
        model["a"](X, X)
    assert [call.module for call in capture.calls] == ["a"]
    with qkv.observe(model["a"], where=[""]) as capture:
        model["a"](X, X)
    assert [call.module for call in capture.calls] == [""]


@pytest.mark.parametrize("heads", [[0], [0, 0]])
def test_a_call_without_heads_has_one(heads) -> None:
    weights = (X[0, 0] @ X[0, 0].mT / 8**0.5).softmax(-1)
    (call,) = captured(X[0, 0], heads=heads).calls
    assert_close(call.matrix.dense(), weights.expand(len(heads), -1, -1))
    assert call.residual is not None
    assert call.residual < 1e-5
    (missed,) = captured(X[0, 0], heads=[1]).missed
    assert missed.reason == "head 1 was asked for; it has 1"


@pytest.mark.parametrize("heads", [None, [3, 1]])
@pytest.mark.parametrize(
    ("query", "key"), [(X[:, :1], X), (X, X[:, :1]), (X, X[0, 0]), (X[:1, :1], X)]
)
def test_heads_that_all_ask_or_are_asked_by_all(query, key, heads) -> None:
    weights = (query @ key.mT / 8**0.5).softmax(-1)
    (call,) = captured(query, key, heads).calls
    assert_close(call.matrix.dense(), weights if heads is None else weights[:, heads])


def test_of_labels() -> None:
    capture = captured()
    with pytest.raises(IndexError, match="labels: the call has a batch of 2; got entry 2"):
        capture.labels(0, 2)
    for wrong, got in (([1, 2], "list and int"), (["a", 1], "list and int and str"), (3, "int")):
        with pytest.raises(TypeError, match=f"tokens must be a list of texts; got {got}"):
            capture.label(wrong)
    with pytest.raises(TypeError, match="text must be text, texts or ids of tokens; got none"):
        capture.label(object(), [])
    with pytest.raises(TypeError, match=r"label_image: image must be a file, .* got NoneType"):
        capture.label_image(None, 2)


def test_labels_of_an_empty_batch() -> None:
    capture = captured(X[:0])
    tokens = [f"w{place}" for place in range(X.shape[-2])]
    capture.label(tokens)
    assert capture.labels(0) == (tokens, tokens)
    with pytest.raises(ValueError, match="2 sequences were labelled; the calls have a batch of 1"):
        capture.label([tokens, tokens])


@pytest.mark.parametrize("spans", [None, ["abc"], [(0, 1.5)], [(0, None)], 3])
def test_of_spans(spans) -> None:
    from qkv.capture.labels import Labels

    labels = Labels(("a", "b"), ((0, 1), (1, 2)), "ab")
    with pytest.raises(TypeError, match=r"words: spans must give pairs \(start, stop\)"):
        labels.words(lambda text: spans)


def test_of_heads() -> None:
    capture = captured()
    capture.label(["a", "[SEP]", "S", "", "b"])
    with pytest.raises(TypeError, match=r"must be a collection of tokens; got '\[SEP\]'"):
        qkv.heads(capture, separators="[SEP]")
    with pytest.raises(IndexError, match="there are 1 layers; got 1"):
        qkv.heads(capture)[1, 0]
    with pytest.raises(ValueError, match=r"nothing to look at in a matrix \[0, 4, 5, 5\]"):
        qkv.heads(captured(X[:0]))
    unseen = captured(attn_mask=torch.zeros(5, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="similarity: no query of any head sees a key"):
        unseen.similarity()


def test_a_terminal_is_given_no_orders_by_tokens() -> None:
    capture = captured(X[:1])
    capture.label(["\x1b[2J\n"] * 5)
    link = str(qkv.heads(capture)[0].link)
    assert link.isprintable()
    assert "\\x1b[2J\\n·" in link
    assert len(str(qkv.heads(capture)).splitlines()) == 5


def test_a_patch_may_be_a_list(tmp_path) -> None:
    capture = captured(X[:1], torch.cat([X, X[:, :, :1]], 2)[:1, :, 1:])
    capture.label_image(torch.rand(3, 8, 8), 2)
    for name, query in (("one", (1, 0)), ("two", [1, 0])):
        capture.picture_over_image(0, 0, tmp_path / f"{name}.png", query=query)
    one, two = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two"))
    assert one == two
    with pytest.raises(IndexError, match="query must be a patch of 2 × 2"):
        capture.picture_over_image(0, 0, tmp_path / "x.png", query=[1, 2])


def test_what_stands_in_a_line_of_input_says_what_it_is() -> None:
    capture = captured()
    assert repr(capture) == "<Capture of 1 calls, 0 missed>"
    assert repr(capture.calls[0]) == "<Call (self, step 0): 2 × 4 × 5 × 5>"
    assert str(capture.calls[:1]) == str(capture.calls)
    assert str(capture.calls[1:]).split() == list(capture.calls.head[1:])


def test_words_of_an_entry_of_several_dimensions() -> None:
    query = torch.randn(2, 3, 4, 3, 3)
    capture = captured(query)
    capture.label_image([torch.zeros(4, 9, 3, dtype=torch.uint8)] * 6, (1, 3))
    assert capture.words(0, 5).weights.shape == (4, 3, 3)
    assert_close(capture.words(0, 4).weights, qkv.attention(query, query)[1, 1].dense())
    with pytest.raises(IndexError, match="words: the call has a batch of 6; got entry 6"):
        capture.words(0, 6)


def test_similarity_needs_keys() -> None:
    with pytest.raises(ValueError, match=r"similarity: there must be queries and keys.*4, 5, 0\]"):
        similarity(qkv.attention(X, X[:, :, :0]))
