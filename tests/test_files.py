"""Files written whole or not at all."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qkv.ground.files import require_writable, write_atomic, write_together, writing


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


def test_a_pipe_that_a_link_of_the_system_stands_for_is_written_into():
    reading, writing_end = os.pipe()
    write_atomic(Path(f"/proc/self/fd/{writing_end}"), b"content")  # as /dev/stdout is
    assert os.read(reading, 100) == b"content"
    os.close(reading)
    os.close(writing_end)


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


def test_a_folder_that_others_write_in_meanwhile_stays(tmp_path, monkeypatch):
    original = tempfile.NamedTemporaryFile

    def meanwhile(dir):
        (tmp_path / "new" / "other").mkdir()
        return original(dir=dir)

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", meanwhile)
    require_writable(tmp_path / "new" / "below")
    assert list(tmp_path.rglob("*")) == [tmp_path / "new", tmp_path / "new" / "other"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_a_file_has_the_permissions_that_the_user_gives_new_ones(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path):
    write_atomic(tmp_path / "file", b"old")

    def half() -> None:
        with writing(tmp_path / "file") as file:
            file.write(b"half")
            assert len(list(tmp_path.iterdir())) == 2  # the draft is beside it
            raise KeyError("about something else")

    with pytest.raises(KeyError, match="about something else"):
        half()
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    assert (tmp_path / "file").read_bytes() == b"old"
