"""Model folders: whole or not at all, with drafts in the folder that they end in; weights in
narrow types, and what is wrong with a damaged folder."""

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import qkv
from qkv.tasks.filled import filled
from qkv.tasks.model_folders import MODELS, model_folder, read_format, read_model, write_model
from qkv.tasks.tokens import Tokens


@pytest.fixture
def mounted(monkeypatch):
    """Every folder is as if on a disk of its own."""
    rename = os.replace

    def replace(source, target):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)


def test_a_model_is_written_into_a_folder_on_a_disk_of_its_own(mounted, tmp_path):
    write_model(tmp_path, {"format": "x"}, {"text": {}}, {"weight": torch.ones(2)})
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


MATRIX = 0.1 * torch.randn(6, 70, generator=torch.Generator().manual_seed(3))
WEIGHTS = {
    "matrix": MATRIX,
    "kernel": MATRIX.reshape(7, 5, 4, 3),
    "tiny": 1e-9 * MATRIX,
    "zeros": torch.zeros(2, 40),
    "bias": MATRIX[0],
    "count": torch.tensor(3),
    "counts": torch.arange(4).reshape(2, 2),
}


def written(folder, dtype=torch.int8, weights=WEIGHTS):
    write_model(folder, {"format": "x"}, None, weights, dtype)
    return load_file(folder / "model.safetensors")


def read(folder):
    return read_model(folder, text=False)[2]


def test_int8_is_what_the_page_says(tmp_path):
    contents = written(tmp_path)
    for name in ("matrix", "kernel", "tiny", "zeros"):
        rows = WEIGHTS[name].flatten(1)
        integers, scale = contents[name], contents[f"{name}_scale"]
        assert (integers.dtype, integers.shape) == (torch.int8, WEIGHTS[name].shape)
        assert (scale.dtype, scale.shape) == (torch.bfloat16, (len(rows), -(-rows.shape[1] // 32)))
        for row in range(len(rows)):
            for column in range(rows.shape[1]):
                step = scale[row, column // 32].double()
                integer = integers.flatten(1)[row, column]
                assert (integer * step - rows[row, column]).abs() <= 0.5 * step * 1.0001
    assert {name for name in contents if "_scale" not in name} == set(WEIGHTS)
    blocks = contents["matrix"][:, :64].reshape(6, 2, 32).abs()
    assert (blocks.amax(-1) == 127).all()


def test_int8_is_loaded_as_float32_and_what_is_no_matrix_is_the_same(tmp_path):
    contents = written(tmp_path)
    found = read(tmp_path)
    assert found.keys() == WEIGHTS.keys()
    for name in ("bias", "count", "counts", "zeros"):
        torch.testing.assert_close(found[name], WEIGHTS[name], rtol=0, atol=0)
    for name in ("matrix", "kernel", "tiny"):
        assert found[name].dtype == torch.float32
        error = (found[name] - WEIGHTS[name]).norm() / WEIGHTS[name].norm()
        assert 0.003 < error < 0.007
    expected = contents["matrix"][4, 66] * contents["matrix_scale"][4, 2].float()
    assert found["matrix"][4, 66] == expected


def test_int8_stored_again_is_the_same(tmp_path):
    written(tmp_path / "once")
    written(tmp_path / "twice", weights=read(tmp_path / "once"))
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("once", "twice"))
    assert one == two


def test_a_network_without_matrices_has_no_scales(tmp_path):
    contents = written(tmp_path, weights={"bias": torch.ones(5)})
    assert {name: value.dtype for name, value in contents.items()} == {"bias": torch.float32}


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.float8_e5m2, "int8"])
def test_a_type_that_no_weights_are_stored_in_is_refused(tmp_path, dtype):
    with pytest.raises(ValueError, match=r"save: dtype must be one of .*torch\.int8; got "):
        written(tmp_path / "new", dtype)
    assert not (tmp_path / "new").exists()


def test_a_type_too_narrow_is_refused(tmp_path):
    large = {"matrix": torch.full((2, 3), 1e5)}
    with pytest.raises(ValueError, match="matrix holds values that are too large for torch"):
        written(tmp_path / "new", torch.float16, large)
    assert not (tmp_path / "new").exists()
    written(tmp_path, torch.int8, large)
    torch.testing.assert_close(read(tmp_path)["matrix"], large["matrix"], rtol=4e-3, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix_scale": None}, "matrix is in int8, and matrix_scale is missing"),
        (
            {"matrix_scale": torch.ones(6, 2)},
            r"matrix_scale must be \[6, 3\], a number for every 32 of a row of matrix \[6, 70\]; "
            r"got \[6, 2\]",
        ),
        ({"matrix_scale": torch.ones(18)}, r"matrix_scale must be \[6, 3\].*got \[18\]"),
        ({"matrix_scale": torch.ones(6, 3).int()}, "matrix_scale must be of a floating type; got "),
        ({"matrix_scale": torch.full((6, 3), torch.nan)}, "matrix holds values that are not finit"),
        ({"matrix_scale": torch.full((6, 3), 3e38)}, "matrix holds values that are not finite"),
        ({"bias": torch.ones(70).to(torch.int8)}, "bias is in int8, and bias_scale is missing"),
        (
            {"bias": torch.ones(70).to(torch.int8), "bias_scale": torch.ones(3)},
            r"bias is in int8 and must have rows; its shape is \[70\]",
        ),
        ({"bias": torch.full((70,), torch.inf)}, "bias holds values that are not finite"),
    ],
)
def test_a_damaged_tensor_is_named(tmp_path, change, message):
    contents = written(tmp_path) | change
    file = tmp_path / "model.safetensors"
    save_file({name: value for name, value in contents.items() if value is not None}, file)
    with pytest.raises(ValueError, match=f"model.safetensors: {message}") as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


def test_very_large_numbers_are_finite_though_their_sum_is_not(tmp_path):
    weights = {"matrix": torch.full((20, 3), 3e38)}
    written(tmp_path, torch.float32, weights)
    torch.testing.assert_close(read(tmp_path), weights, rtol=0, atol=0)


def test_a_filled_model_has_the_weights_and_draws_none():
    def make():
        layers = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.GRU(4, 2), nn.Embedding(5, 2)
        nn.init.xavier_uniform_(layers[0].weight)
        return nn.Sequential(*layers)

    torch.manual_seed(1)
    other = make()
    state = torch.get_rng_state()
    model = filled(make, other.state_dict())
    assert torch.equal(torch.get_rng_state(), state)
    x = torch.randn(5, 3)
    torch.testing.assert_close(model[:3](x), other[:3](x), rtol=0, atol=0)
    assert torch.equal(model[3].weight, other[3].weight)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": torch.ones(4, 2)}, r"weight must be \[4, 3\]; got \[4, 2\]"),
        (
            {"weight": torch.ones(4, 3).int()},
            r"weight must be \[4, 3\]; got \[4, 3\] of torch.int32",
        ),
        ({"more": torch.ones(2)}, r"more must be absent; got \[2\]"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, message):
    weights = dict(nn.Linear(3, 4).state_dict()) | change
    with pytest.raises(ValueError, match=f"does not fit config.json: {message}"):
        filled(lambda: nn.Linear(3, 4), weights)


@pytest.mark.parametrize("wide", [True, False])
def test_a_model_of_many_more_weights_is_refused_before_it_is_made(wide):
    made = []

    def make():
        for size in [2**20] if wide else [300] * 2**20:
            made.append(nn.Linear(size, size))
        return nn.Sequential(*made)

    weights = dict(nn.Linear(3, 4).state_dict())
    with pytest.raises(
        ValueError, match=r"does not fit config\.json: .* have about 16 weights; got"
    ):
        filled(make, weights)
    assert len(made) < 3


def test_a_model_may_make_what_it_does_not_save():
    model = filled(lambda: nn.Linear(200, 200).requires_grad_(bool(torch.empty(200, 200).ndim)),
                   dict(nn.Linear(200, 200).state_dict()))  # fmt: skip
    assert model.weight.shape == (200, 200)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_brackets_without_end_are_refused(name, tmp_path):
    write_model(tmp_path, {"format": "x"}, {"text": {}}, {"weight": torch.ones(2)})
    (tmp_path / name).write_text("[" * 100_000)
    with pytest.raises(ValueError, match=f"{name} cannot be read: too many brackets"):
        read_model(tmp_path)


def test_a_pipe_in_the_place_of_a_config_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"config\.json cannot be read: it is no file"):
        read_format(tmp_path)


def changed(folder, name, **changes):
    """A copy of a model that ships, of which config.json says something else."""
    shutil.copytree(MODELS / name, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("reviews", {"labels": ["neg", {}]}, r"labels must be a list of texts; got \['neg', {}\]"),
        ("reviews", {"labels": "ab"}, "labels must be a list of texts; got 'ab'"),
        ("reviews", {"labels": ["a", "a"]}, "labels must be different ones; got"),
        ("images", {"labels": [1] * 10}, "labels must be a list of texts; got"),
        ("images", {"both_ways": "no"}, "both_ways must be of type bool; got 'no'"),
        ("en-zh-recurrent", {"carries": 0}, "carries must be of type bool; got 0"),
        (
            "en-zh-recurrent",
            {"source_language": ["English"]},
            "source_language must be of type str",
        ),
    ],
)
def test_what_a_config_says_is_of_its_kind(name, changes, message, tmp_path):
    folder = changed(tmp_path / "model", name, **changes)
    with pytest.raises(ValueError, match=f"^{folder}: not .* that qkv can load: {message}"):
        qkv.load(folder)


def test_a_model_that_claims_endless_layers_is_refused_at_once(tmp_path):
    sizes = json.loads((MODELS / "en-zh-recurrent" / "config.json").read_text())["model"]
    for change in ({"decoder_layers": 2**31 - 1}, {"width": 2**20}):
        folder = changed(tmp_path / str(change), "en-zh-recurrent", model=sizes | change)
        with pytest.raises(ValueError, match=r"the model must have about .* weights; got more"):
            qkv.load(folder)


class Panic(BaseException):
    """What a library's panic is: no Exception."""


def test_a_panic_of_the_tokenizers_is_a_refusal(monkeypatch):
    def panic(text):
        raise Panic("range end out of range")

    monkeypatch.setattr("tokenizers.Tokenizer", SimpleNamespace(from_str=panic))
    with pytest.raises(ValueError, match="not a tokenizer: range end out of range"):
        Tokens.from_json({"kind": "pieces", "tokenizer": {}})


def test_loaded_weights_are_on_the_default_device(tmp_path):
    with torch.device("meta"):
        model = filled(lambda: nn.Linear(3, 4), dict(nn.Linear(3, 4, device="cpu").state_dict()))
    assert model.weight.is_meta


@pytest.mark.parametrize("name", ["en-zh-recurrent", "reviews", "images"])
def test_each_kind_of_model_is_saved_in_8_bits_and_trainable_once_loaded(tmp_path, name):
    model = qkv.load(name)
    model.save(tmp_path, torch.int8)
    again = qkv.load(tmp_path)
    for one, two in zip(model.model.parameters(), again.model.parameters(), strict=True):
        assert two.dtype == torch.float32
        assert (one - two).norm() <= 0.02 * one.norm()
    sizes = [sum(p.numel() for p in model.model.parameters()), (tmp_path / "model.safetensors")]
    assert sizes[1].stat().st_size < 1.1 * sizes[0]
    again.save(tmp_path, torch.float32)  # over itself
    found = qkv.load(tmp_path).model.requires_grad_(True)
    with torch.no_grad():
        for one, two in zip(found.parameters(), again.model.parameters(), strict=True):
            assert torch.equal(one, two)
            one.add_(1)


def test_a_folder_of_something_else_does_not_hide_a_model_that_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cat.png").touch()
    assert model_folder("images") == MODELS / "images"
    assert model_folder("./images") == Path("images")
    for own in ("config.json", "training"):
        (tmp_path / "images" / own).mkdir()
        assert model_folder("images") == Path("images")
        (tmp_path / "images" / own).rmdir()
