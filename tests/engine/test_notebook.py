"""What a notebook shows of an attention matrix."""

from __future__ import annotations

import base64
import io
import re

import pytest
import torch

import qkv


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
    assert "every 782th query" in html
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
