import errno
import os
import struct

import pytest

from qkv.pictures import check_picture_path, heatmap, save_picture


@pytest.fixture
def figure():
    return heatmap([[1.0]], ["x"], ["a"])


@pytest.mark.parametrize("name", ["map.jpg", "map", ".png", "map.png.txt"])
def test_other_suffixes_are_refused(tmp_path, name, figure):
    with pytest.raises(ValueError, match=r"must end in \.png, \.svg, \.pdf; got"):
        save_picture(figure, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_and_a_folder_in_the_way_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder '.*nowhere'"):
        check_picture_path(tmp_path / "nowhere" / "map.png")
    (tmp_path / "map.png").mkdir()
    with pytest.raises(IsADirectoryError, match=r"map\.png' is a folder"):
        check_picture_path(tmp_path / "map.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(FileExistsError, match=r"pipe\.png' is no file that can be replaced"):
        check_picture_path(tmp_path / "pipe.png")


def test_a_link_stays_and_the_picture_is_where_it_points(tmp_path, figure):
    (tmp_path / "below").mkdir()
    (tmp_path / "map.png").symlink_to(tmp_path / "below" / "real")
    save_picture(figure, tmp_path / "map.png")
    assert (tmp_path / "map.png").is_symlink()
    assert (tmp_path / "below" / "real").read_bytes().startswith(b"\x89PNG")


def test_capital_suffixes_are_welcome(tmp_path, figure):
    save_picture(figure, tmp_path / "map.PNG")
    assert (tmp_path / "map.PNG").read_bytes().startswith(b"\x89PNG")


def test_a_full_disk_leaves_the_old_picture_and_no_rest(tmp_path, figure, monkeypatch):
    path = tmp_path / "map.png"
    path.write_text("old")

    def savefig(file, **_):
        file.write(b"half a pic")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(figure, "savefig", savefig)
    with pytest.raises(OSError, match="No space left") as failure:
        save_picture(figure, path)
    assert failure.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_figure_too_long_for_the_resolution_is_drawn_coarser(tmp_path, figure):
    figure.set_size_inches(0.2, 600)
    save_picture(figure, tmp_path / "map.png")
    header = (tmp_path / "map.png").read_bytes()[16:24]
    assert struct.unpack(">II", header)[1] in {2**16 - 1, 2**16 - 2}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_file_has_the_usual_permissions(tmp_path, figure):
    old = os.umask(0o027)
    try:
        save_picture(figure, tmp_path / "map.svg")
    finally:
        os.umask(old)
    assert (tmp_path / "map.svg").stat().st_mode & 0o777 == 0o640
