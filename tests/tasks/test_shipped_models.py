"""What every model that ships with the package has in common."""

import pytest

from qkv.tasks.model_folders import MODELS

MOST_BYTES = {
    "en-zh": 13 * 2**20,
    "en-zh-recurrent": 12 * 2**20,
    "images": 4 * 2**20,
    "reviews": 4 * 2**20,
}


def test_these_ship():
    assert {folder.name for folder in MODELS.iterdir()} == set(MOST_BYTES)


@pytest.mark.parametrize("name", MOST_BYTES)
def test_the_folder_holds_its_files_and_is_small(name):
    sizes = {path.name: path.stat().st_size for path in (MODELS / name).iterdir()}
    expected = {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
    assert set(sizes) == expected - ({"tokenizer.json"} if name == "images" else set())
    assert sum(sizes.values()) <= MOST_BYTES[name]


def test_all_together_are_small():
    sizes = [path.stat().st_size for path in MODELS.rglob("*") if path.is_file()]
    assert sum(sizes) <= 40e6
