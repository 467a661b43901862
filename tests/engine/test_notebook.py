"""What a notebook shows of an attention matrix."""

from __future__ import annotations

import base64
import io
import re

import pytest
import torch

import qkv
from qkv.matrix import notebook


def pictures(html: str) -> list[torch.Tensor]:
    image = pytest.importorskip("matplotlib.image")
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [torch.tensor(image.imread(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_maps_are_dark_where_attention_is() -> None:
    query = torch.eye(5) * 100
    html = qkv.attention(query.expand(1, 6, 5, 5), query.expand(1, 2, 5, 5))._repr_html_()
    assert "AttentionMatrix(shape=[1, 6, 5, 5]" in html
    assert "the first 4 of 6 heads" in html
    maps = pictures(html)
    assert len(maps) == 4
    for entry in maps:
        assert entry.shape == (5, 5, 3)
        assert torch.equal(entry.sum(-1) < 1, torch.eye(5) > 0)


def test_of_a_long_matrix_some_queries_are_looked_at() -> None:
    query = torch.randn(100_000, 8)
    html = qkv.attention(query, query, mask=qkv.Window(3, 3))._repr_html_()
    assert "one query of 782, dark" in html
    (entry,) = pictures(html)
    assert entry.shape == (128, 128, 3)


@pytest.mark.parametrize("normalizer", [qkv.Identity(), qkv.Sparsemax()])
def test_what_has_no_usual_weights_is_shown_as_well(normalizer) -> None:
    query = torch.randn(3, 4, requires_grad=True)
    key = torch.cat([torch.randn(4, 4), torch.full((1, 4), torch.nan)])
    html = qkv.attention(query, key, normalizer=normalizer, mask=qkv.Prefix(0))._repr_html_()
    assert len(pictures(html)) == 1
    assert len(pictures(qkv.attention(query, key, normalizer=normalizer)._repr_html_())) == 1


def test_nothing_to_see_is_one_line() -> None:
    query = torch.ones(0, 4)
    assert "<img" not in qkv.attention(query, query)._repr_html_()
    query = torch.ones(3, 4, device="meta")
    assert "<img" not in qkv.attention(query, query)._repr_html_()


def test_of_many_numbers_fewer_queries_are_looked_at(monkeypatch) -> None:
    monkeypatch.setattr(notebook, "_MOST_WORK", 10 * 100 * 4 * 2)  # ten queries of two heads
    query = torch.randn(2, 100, 4)
    html = qkv.attention(query, query)._repr_html_()
    assert "the first 2 of 2 heads, one query of 10, dark" in html
    assert [entry.shape for entry in pictures(html)] == [(10, 100, 3)] * 2
    distant = qkv.attention(query, query, score=lambda query, key, _: 2 * query @ key.mT)
    assert "one query of 100, dark" in distant._repr_html_()  # it takes longer: one is left


def test_a_single_query_can_be_seen() -> None:
    html = qkv.attention(torch.randn(1, 4), torch.randn(1000, 4))._repr_html_()
    assert "width:160px;height:8px" in html
    html = qkv.attention(torch.randn(1000, 4), torch.randn(1, 4))._repr_html_()
    assert "width:8px;height:160px" in html


def test_of_several_matrices_each_is_the_mean_over_its_heads() -> None:
    one, other = torch.eye(4) * 100, torch.eye(4).flip(0) * 100
    turned = qkv.attention(torch.stack([one, other]), torch.stack([one, one]))
    empty = qkv.attention(torch.ones(0, 4), torch.ones(3, 4))
    html = notebook.maps_html([("a < b", turned), ("nothing", empty), ("own", turned[0])])
    first, second = pictures(html)
    assert torch.equal(first.sum(-1) < 1, (torch.eye(4) + torch.eye(4).flip(0)) > 0)
    assert torch.equal(second.sum(-1) < 1, torch.eye(4) > 0)
    assert "<small>a &lt; b</small>" in html
    assert "nothing" not in html
    assert notebook.maps_html([("nothing", empty)]) == ""


def test_bars_behind_numbers_let_the_ground_through() -> None:
    html = qkv.attention(torch.eye(3), torch.eye(3)).explain(0)._repr_html_()
    assert "linear-gradient(90deg,rgba(60,140,230,.35) 47.1%,transparent 0)" in html
