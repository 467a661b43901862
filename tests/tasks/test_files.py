"""Files and model folders: whole or not at all, with drafts in the folder that they end in."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from qkv.ground.files import writing
from qkv.tasks.files import require_writable, write_atomic, write_model, write_together


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


def test_where_one_file_cannot_be_written_all_stay_as_they_were(tmp_path):
    write_together(tmp_path, {"a": b"old"})
    with pytest.raises(OSError, match=f"cannot write {tmp_path}/{'b' * 300}"):
        write_together(tmp_path, {"a": b"new", "b" * 300: b"a name that is too long"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_link_stays_and_the_file_is_where_it_points(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "below" / "real")
    for content in (b"first", b"second"):
        write_atomic(tmp_path / "link", content)
        assert (tmp_path / "below" / "real").read_bytes() == content
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["real"]


def test_a_pipe_is_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as reader:
        read = reader.submit(pipe.read_bytes)
        write_atomic(pipe, b"content")
        assert read.result() == b"content"
    assert pipe.is_fifo()


def test_what_a_pipe_does_not_take_is_told_by_its_name(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = writing(pipe)
    file.__enter__().write(b"content")
    os.close(reader)
    with pytest.raises(OSError, match=f"cannot write {pipe}: Broken pipe"):
        file.__exit__(None, None, None)


def test_asking_whether_a_folder_can_be_written_leaves_nothing(tmp_path):
    require_writable(tmp_path / "new" / "below")
    require_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"cannot write {tmp_path}/file/below"):
        require_writable(tmp_path / "file" / "below")
