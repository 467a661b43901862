"""Model folders: whole or not at all, with drafts in the folder that they end in."""

import errno
import os
from pathlib import Path

import pytest
import torch

from qkv.tasks.model_folders import write_model


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
