"""Which labels a call has: by count, by side, by entry of the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

import qkv
from qkv.capture.call import Call
from qkv.capture.images import ImageLabels, image_labels
from qkv.capture.labelling import Labelling
from qkv.capture.labels import Labels


def made(module: str, kind: str, queries: int, keys: int, batch: int = 1) -> Call:
    """A call of these sizes."""
    query, key = torch.zeros(batch, 4, queries, 2), torch.zeros(batch, 4, keys, 2)
    return Call(
        module=module,
        kind=kind,
        step=0,
        matrix=qkv.attention(query, key),
        residual=None,
        function="sdpa",
        steps=1,
    )


def letters(count: int, **options: Any) -> Labels:
    return Labels(tuple("abcdefghijklmnop"[:count]), **options)


def tokens(labelling: Labelling, call: Call, entry: int = 0) -> tuple[str | None, ...]:
    return tuple(one and "".join(one.tokens) for one in labelling.of(call, entry))


SOURCE = made("model.encoder.layers.0.self_attn", "self", 3, 3)
TARGET = made("model.decoder.layers.0.self_attn", "self", 5, 5)
ACROSS = made("model.decoder.layers.0.encoder_attn", "cross", 5, 3)
CALLS = [SOURCE, TARGET, ACROSS]


def test_labels_without_a_side_are_for_whatever_they_fit():
    labelling = Labelling()
    labelling.add([letters(3)], None, CALLS)
    assert tokens(labelling, SOURCE) == ("abc", "abc")
    assert tokens(labelling, TARGET) == (None, None)
    assert tokens(labelling, ACROSS) == (None, "abc")


def test_each_side_has_its_own():
    labelling = Labelling()
    labelling.add([letters(3)], "encoder", CALLS)
    labelling.add([Labels(tuple("ABCDE"))], "decoder", CALLS)
    assert tokens(labelling, SOURCE) == ("abc", "abc")
    assert tokens(labelling, TARGET) == ("ABCDE", "ABCDE")
    assert tokens(labelling, ACROSS) == ("ABCDE", "abc")
    labelling.add([letters(5)], None, CALLS)  # those for all take the place of both
    assert tokens(labelling, ACROSS) == ("abcde", None)


def test_sides_of_the_same_length_are_told_apart_by_the_path():
    calls = [
        made("encoder.encoder.layer.0.attention", "self", 4, 4),
        made("decoder.bert.encoder.layer.0.attention", "self", 4, 4),
        made("text_decoder.0", "self", 4, 4),
    ]
    labelling = Labelling()
    labelling.add([letters(4)], "encoder", calls)
    labelling.add([Labels(tuple("ABCD"))], "decoder", calls)
    assert [tokens(labelling, call)[0] for call in calls] == ["abcd", "ABCD", "ABCD"]


def test_each_sequence_of_a_batch_has_its_own_and_one_is_for_all():
    call = made("layer.0", "self", 3, 3, batch=2)
    labelling = Labelling()
    labelling.add([letters(3), Labels(tuple("xyz"))], None, [call])
    assert tokens(labelling, call, 0) == ("abc", "abc")
    assert tokens(labelling, call, 1) == ("xyz", "xyz")
    labelling.add([letters(3)], None, [call])
    assert tokens(labelling, call, 1) == ("abc", "abc")


def test_rows_of_a_search_have_the_labels_of_their_sequence():
    call = made("layer.0", "self", 3, 3, batch=6)
    labelling = Labelling()
    labelling.add([letters(3), Labels(tuple("xyz"))], None, [call])
    assert [tokens(labelling, call, row)[0] for row in range(6)] == ["abc"] * 3 + ["xyz"] * 3
    with pytest.raises(ValueError, match="4 sequences were labelled; the calls have a batch of 6"):
        labelling.add([letters(3)] * 4, None, [call])


def test_the_last_token_that_was_generated_has_no_place():
    call = made("layer.0", "self", 4, 4)
    labelling = Labelling()
    spans = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))
    labelling.add([letters(5, spans=spans, text="abcde", spare=1)], None, [call])
    query, key = labelling.of(call)
    assert query == key == Labels(tuple("abcd"), spans[:4], "abcde")
    with pytest.raises(ValueError, match="5 labels were given; the calls have 4 places"):
        labelling.add([letters(5)], None, [call])


@pytest.mark.parametrize(
    ("labels", "side", "message"),
    [
        ([letters(4)], None, "4 labels were given; the calls have 3, 5 places"),
        ([letters(2)], None, "2 labels .* 3, 5 places; where tokens were generated, label with"),
        ([letters(5)], "encoder", "5 labels were given; the calls of the encoder have 3 places"),
        ([letters(3)], "decoder", "3 labels were given; the calls of the decoder have 5 places"),
        ([letters(3), letters(3)], None, "2 sequences were labelled; the calls have a batch of 1"),
        ([letters(3), letters(2)], None, "one number of labels, padding included; got 2, 3"),
        ([], None, "one number of labels"),
        ([letters(3)], "left", "side must be one of encoder, decoder or None; got 'left'"),
    ],
)
def test_wrong_counts_are_told_with_both_numbers(labels, side, message):
    labelling = Labelling()
    labelling.add([letters(3)], None, CALLS)
    with pytest.raises(ValueError, match=f"label: .*{message}"):
        labelling.add(labels, side, CALLS)
    assert tokens(labelling, SOURCE) == ("abc", "abc")


def test_no_calls_fit_nothing():
    with pytest.raises(ValueError, match="3 labels were given; the calls have no places"):
        Labelling().add([letters(3)], None, [])


PICTURE = torch.arange(4 * 6 * 3, dtype=torch.uint8).view(4, 6, 3)


def test_patches_are_labelled_by_row_and_column():
    labels = image_labels(PICTURE, (2, 3), None, {6})
    assert labels.tokens == ("0,0", "0,1", "0,2", "1,0", "1,1", "1,2")
    assert torch.equal(labels.image, PICTURE)
    assert labels.alone().labels == labels.tokens
    labelling = Labelling()
    call = made("vit.layer.0", "self", 6, 6)
    labelling.add([labels], None, [call])
    assert labelling.of(call) == (labels, labels)
    assert labels.words().labels == labels.tokens


@pytest.mark.parametrize(
    ("length", "extra", "names"),
    [
        (4, None, ()),
        (5, None, ("[CLS]",)),
        (7, None, ("[CLS]", "[REG1]", "[REG2]")),
        (6, ("[CLS]", "[DIST]"), ("[CLS]", "[DIST]")),
    ],
)
def test_class_and_register_tokens_stand_in_front(length, extra, names):
    labels = image_labels(PICTURE, 2, extra, {length})
    assert labels.extra == names
    assert len(labels) == length
    assert labels.tokens[len(names)] == "0,0"


def test_pictures_of_every_kind_become_bytes(tmp_path):
    flat = PICTURE.reshape(-1).tolist()
    picture = Image.frombytes("RGB", (6, 4), bytes(flat))
    picture.save(tmp_path / "picture.png")
    same = [
        picture,
        tmp_path / "picture.png",
        str(tmp_path / "picture.png"),
        PICTURE.numpy(),
        PICTURE.permute(2, 0, 1),
        PICTURE.permute(2, 0, 1) / 255,
        PICTURE.double() / 255,
    ]
    for one in same:
        found: ImageLabels = image_labels(one, 2, (), set())
        assert torch.equal(found.image, PICTURE)
        assert found.image.dtype is torch.uint8
    grey = image_labels(PICTURE[..., 0], 2, (), set()).image
    assert torch.equal(grey, PICTURE[..., :1].expand(4, 6, 3))
    palette = image_labels(picture.convert("P", palette=Image.Palette.ADAPTIVE), 2, (), set())
    assert palette.image.shape == (4, 6, 3)


def test_a_file_that_is_no_picture_or_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "a.gif"
    Image.new("RGB", (8, 8), "red").save(path)
    content = bytearray(path.read_bytes())
    content[6:10] = (9000).to_bytes(2, "little") * 2
    for damaged, said in ((content, "it claims 9,000 × 9,000 pixels"), (b"none", "unknown format")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"label_image: {path}: not a picture .*{said}"):
            image_labels(path, 2, (), set())
    with pytest.raises(OSError, match="absent"):
        image_labels(tmp_path / "absent", 2, (), set())


@pytest.mark.parametrize(
    ("image", "grid", "message"),
    [
        (torch.randn(3, 8, 8), 2, "floating colours must lie in 0 ... 1; got values from -"),
        (PICTURE.long(), 2, "colours must be uint8 or floating; got torch.int64"),
        (torch.zeros(2, 3, 8, 8), 2, r"image must be \[height, width, 3\]"),
        (torch.zeros(0, 8, 3), 2, r"image must be \[height, width, 3\]"),
        (PICTURE, (2, 0), r"grid must be rows and columns of patches; got \(2, 0\)"),
        (PICTURE, (2,), "grid must be rows and columns"),
        (PICTURE, 2.5, "grid must be rows and columns"),
    ],
)
def test_what_is_no_picture_and_no_grid(image, grid, message):
    with pytest.raises((ValueError, TypeError), match=f"label_image: {message}"):
        image_labels(image, grid, (), set())
