"""Heads and what they are called."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from heads_made import AHEAD, LENGTH, PLACE, SCORES, TOKENS, of_scores

import qkv
from qkv.capture.heads import heads, key_mass
from qkv.capture.roles import ROLES, Figures, role_of
from qkv.capture.separators import SEPARATORS


def stacked(*scores) -> torch.Tensor:
    return torch.stack([each.float() for each in scores])[None]


@pytest.fixture(scope="module")
def table():
    """A head of every kind, in one layer."""
    return heads(of_scores(stacked(*SCORES.values())), labels=TOKENS)


@pytest.mark.parametrize("number", range(len(SCORES)), ids=SCORES)
def test_a_head_made_to_be_something_is_called_that(table, number) -> None:
    assert table[number].role == list(SCORES)[number]


@pytest.mark.parametrize("kind", ROLES)
def test_the_figure_behind_a_name_is_given(table, kind) -> None:
    (head,) = table.named(ROLES[kind])
    assert head.because.startswith(f"{kind} 100% (even ")
    assert head.figures.share[kind] == pytest.approx(1, abs=1e-4)


def test_separators_need_labels_and_can_be_chosen() -> None:
    matrix = of_scores(stacked(SCORES["separator"]))
    assert heads(matrix)[0].role == "content"
    assert heads(matrix)[0].figures.share.get("separator") is None
    dots = ["." if token in SEPARATORS else token for token in TOKENS]
    assert heads(matrix, dots)[0].role == "content"
    assert heads(matrix, dots, separators={"."})[0].role == "separator"


@pytest.mark.parametrize(("of_first", "name"), [
    (20.4, "first-token sink + previous token"),
    (19.6, "previous token + first-token sink"),
    (25.0, "first-token sink"),
    (15.0, "previous token"),
])  # fmt: skip
def test_mixtures_and_ties_are_said(of_first, name) -> None:
    scores = 20.0 * (AHEAD == -1) + of_first * (PLACE == 0)
    head = heads(of_scores(stacked(scores)))[0]
    assert head.role == name
    for kind in (kind for kind, role in ROLES.items() if role in name.split(" + ")):
        assert f"{kind} {head.figures.share[kind]:.0%}" in head.because


def figures(**changes) -> Figures:
    made = Figures(9, 1.0, 2.0, 0.5, 7.4, 40.0, 12.0, 40.0, 0.3, {}, {})
    return replace(made, **changes)


def test_thresholds() -> None:
    def with_shares(**share) -> Figures:
        return figures(share=share, even=dict.fromkeys(share, 0.0))

    assert role_of(with_shares(previous=0.5))[0] == "previous token"
    assert role_of(with_shares(previous=0.49))[0] == "content"
    assert role_of(with_shares(previous=0.25, first=0.25))[0] == "previous token + first-token sink"
    assert role_of(with_shares(first=0.25, previous=0.25))[0] == "previous token + first-token sink"
    assert role_of(with_shares(previous=0.3, first=0.24))[0] == "content"
    assert role_of(with_shares(previous=0.26, first=0.26, next=0.27))[0] == (
        "next token + previous token + first-token sink"
    )
    assert role_of(with_shares(near=0.5))[0] == "local"
    assert role_of(with_shares(near=0.5, previous=0.5))[0] == "previous token"
    assert role_of(figures(broadness=0.85))[0] == "broad"
    assert role_of(figures(broadness=0.84)) == (
        "content",
        "7.4 of 40 keys in effect, 12.0 positions away",
    )
    assert role_of(figures(queries=0))[0] == "unused"
    assert role_of(figures(entropy=float("nan")))[0] == "broken"


def test_even_attention_over_few_keys_is_no_pattern() -> None:
    """Half of the weight on the previous token says nothing where two keys are all there is."""
    scores = torch.zeros(1, 1, 8, 8)
    assert heads(of_scores(scores, mask=qkv.Window(1, 0)))[0].role == "broad"
    assert heads(of_scores(scores, mask=qkv.Causal()))[0].role == "broad"


def test_the_strongest_link_is_of_a_query_that_had_a_choice() -> None:
    matrix = of_scores(stacked(SCORES["broad"] + 3.0 * (PLACE == 7) * (PLACE == 30)[:, None]),
                       mask=qkv.Causal())  # fmt: skip
    head = heads(matrix, TOKENS)[0]
    link = head.link
    assert link.query == 1  # it looks at both keys alike
    assert link.tokens == ("w1", f"w{link.key}")
    sharp = of_scores(stacked(20.0 * (PLACE == 7) * (PLACE == 30)[:, None]), mask=qkv.Causal())
    assert str(heads(sharp, TOKENS)[0].link) == "w30·30 → w7·7 100%"
    assert str(heads(sharp)[0].link) == "30 → 7 100%"


def test_batch_entries_have_their_own_separators() -> None:
    ends = torch.zeros(2, 1, 12, 12)
    ends[0, ..., 4] = ends[1, ..., 7] = 20
    labels = [["[SEP]" if place == end else "w" for place in range(12)] for end in (4, 7)]
    assert heads(of_scores(ends), labels)[0].role == "separator"
    assert heads(of_scores(ends), labels[::-1])[0].role == "content"


def test_a_first_token_that_is_a_separator_counts_as_the_first() -> None:
    scores = torch.zeros(1, 1, 12, 12)
    scores[..., 0] = 20
    labels = ["</s>", *["w"] * 10, "</s>"]
    head = heads(of_scores(scores), labels)[0]
    assert head.role == "first-token sink"
    assert head.figures.share["separator"] == pytest.approx(0, abs=1e-6)


def test_several_layers_and_what_stands_for_them() -> None:
    one, two = of_scores(stacked(SCORES["broad"])), of_scores(stacked(SCORES["same token"]))
    calls = [
        SimpleNamespace(module="a", kind="self", matrix=one),
        SimpleNamespace(module="a", kind="cross", matrix=two),
        SimpleNamespace(module="b", kind="self", matrix=two),
    ]
    for source, layers in (
        (one, ["0"]),
        ([one, two], ["0", "1"]),
        ({"x": one, "y": two}, ["x", "y"]),
        (calls[2], ["b"]),
        (SimpleNamespace(calls=calls), ["a #1", "a #2", "b"]),
    ):
        assert list(heads(source).layers) == layers
    table = heads(calls)
    assert [head.role for head in table] == ["broad", "content", "same token"]
    assert table["a #2", 0] is table[1, 0] is table[1]
    assert table[1].figures.distance is None
    with pytest.raises(KeyError, match="no head 3 in a layer 'b'"):
        table["b", 3]


def test_the_table_as_text(table) -> None:
    lines = str(table).splitlines()
    assert len(lines) == 1 + len(SCORES)
    assert lines[0].split()[:4] == ["layer", "head", "does", "because"]
    assert "previous token" in lines[1]
    assert "100" in lines[1]
    assert str(table[0]) == f"0 head 0: previous token ({table[0].because})"
    assert all("\x1b" not in line and line == line.rstrip() for line in lines)


def test_the_table_for_rich(table) -> None:
    from rich.console import Console

    console = Console(width=300, force_terminal=False)
    with console.capture() as written:
        console.print(table)
    text = written.get()
    for head in table:
        assert head.role in text
        assert head.because in text


def test_labels_that_look_like_markup_stay_text() -> None:
    from rich.console import Console

    tokens = [f"[red]<b>{place}" for place in range(LENGTH)]
    table = heads(of_scores(stacked(SCORES["same token"])), tokens)
    console = Console(width=300)
    with console.capture() as written:
        console.print(table)
    assert "[red]<b>0·0" in written.get()
    assert "&lt;b&gt;0·0" in table._repr_html_()
    assert "<b>" not in table._repr_html_()


def test_the_table_in_a_notebook(table) -> None:
    page = table._repr_html_()
    assert page.count("<tr>") == 1 + len(SCORES)
    assert "background:rgb(22,32,88)" in page  # 100 %
    shown = table[0]._repr_html_()
    assert "previous token" in shown
    assert "<img" in shown


def test_the_table_as_json(table) -> None:
    found = json.loads(table.json())
    assert found["thresholds"] == {"mostly": 0.5, "partly": 0.25, "broad": 0.85}
    first = found["heads"][0]
    assert first["role"] == "previous token"
    assert first["figures"]["share"]["previous"] == table[0].figures.share["previous"]
    assert first["link"]["tokens"] == list(table[0].link.tokens)


def test_json_has_no_numbers_that_are_none() -> None:
    scores = stacked(SCORES["broad"])
    scores[..., 3, 3] = torch.nan
    table = heads(of_scores(scores))
    assert table[0].role == "broken"
    assert json.loads(table.json())["heads"][0]["figures"]["entropy"] is None


def test_key_mass_is_what_all_queries_give(table) -> None:
    scores = torch.randn(2, 3, 12, 12)
    lengths = torch.tensor([12, 7])
    matrix = of_scores(scores, mask=qkv.Padding(lengths))
    dense = matrix.dense()
    dense[1, :, 7:] = 0  # padding gives nothing
    (found,) = key_mass({"layer": matrix}).values()
    torch.testing.assert_close(found, dense.sum(-2).double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(heads(matrix).key_mass()["0"], found)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: heads(3), TypeError,
         "heads: a capture, its calls or attention matrices are needed; got int"),
        (lambda m: heads([]), ValueError, "heads: there is no attention to look at; got none"),
        (lambda m: heads(m, ["a"]), ValueError,
         "heads: labels must hold a token for each key; got 1 for layers of 6 keys"),
        (lambda m: heads(m, "text"), TypeError,
         "heads: labels must be a list of tokens, or one for each batch entry; got str"),
        (lambda m: heads(m, [list("abcdef")] * 2), ValueError,
         "heads: labels must be of 1 or 3 batch entries in 0; got 2"),
        (lambda m: heads(replace(m, normalizer=qkv.Identity())), qkv.UnsupportedError,
         "heads: needs weights >= 0; got normalizer Identity"),
        (lambda m: heads(qkv.attention(torch.zeros(0, 2), torch.zeros(3, 2))), ValueError,
         "heads: there is nothing to look at in a matrix [0, 3]"),
    ],
)  # fmt: skip
def test_errors(call, error, message) -> None:
    with pytest.raises(error) as raised:
        call(of_scores(torch.zeros(3, 2, 6, 6)))
    assert str(raised.value) == message
