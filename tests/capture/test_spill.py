"""Tensors on the disk while a model runs: the same bits, and a folder without a trace of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from resident import own_bytes

from qkv.capture.spill import Spill


def test_the_same_numbers_come_back_in_the_same_order_in_memory(tmp_path):
    tensors = (
        torch.randn(2, 5, 3, 7).transpose(1, 2),
        torch.randn(1, 3, 5, 7, dtype=torch.float64).expand(2, 3, 5, 7),
        torch.randn(3, 5, dtype=torch.bfloat16),
        torch.zeros(2, 3, 0),
        torch.tensor(7),
        torch.randn(2, 3, requires_grad=True),
    )
    for kept, tensor in zip(Spill(tmp_path).keep(*tensors), tensors, strict=True):
        assert torch.equal(kept, tensor)
        assert kept.stride() == tensor.stride()
        assert kept.dtype is tensor.dtype
        assert not kept.requires_grad


def test_memory_stays_flat_and_the_folder_looks_empty(tmp_path):
    spill, piece = Spill(tmp_path), torch.ones(2**22)
    spill.keep(piece)
    before, kept = own_bytes(), []
    for _ in range(8):
        kept += spill.keep(piece)
    assert own_bytes() - before < piece.nbytes // 2
    assert list(tmp_path.iterdir()) == []
    assert all(float(one[-1]) == 1 for one in kept)


def test_the_disk_is_given_back_with_the_last_tensor(tmp_path):
    (kept,) = Spill(tmp_path).keep(torch.ones(1000))
    assert maps_in(tmp_path) == 1
    part = kept[:10]
    del kept
    assert maps_in(tmp_path) == 1
    del part
    assert maps_in(tmp_path) == 0


def maps_in(folder: Path) -> int:
    """How many files of the folder this process has mapped."""
    return sum(f" {folder}/" in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_room_on_the_disk_is_written_into(tmp_path):
    spill = Spill(tmp_path)
    room = spill.room((3, 5), torch.float64)
    room[1] = torch.arange(5)
    assert room[1].tolist() == [0, 1, 2, 3, 4]
    assert maps_in(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert spill.room((0, 5), torch.float64).shape == (0, 5)
    large = spill.room((2**26,), torch.uint8)
    before = own_bytes()
    assert large.shape == (2**26,)
    assert own_bytes() - before < 2**22
    with pytest.raises(OSError, match=f"cannot write {tmp_path}: "):
        spill.room((2**60,), torch.uint8)


def test_many_calls_do_not_run_out_of_open_files(tmp_path):
    spill = Spill(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    kept = [spill.keep(torch.tensor([number])) for number in range(1500)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert [int(one) for (one,) in kept] == list(range(1500))


def test_what_was_killed_leaves_nothing(tmp_path):
    program = f"""
import os, signal, torch
from qkv.capture import spill
written = spill.write_bytes
def half(file, tensor):
    written(file, tensor[: len(tensor) // 2])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
keeping = spill.Spill({str(tmp_path)!r})
kept = keeping.keep(torch.ones(1000))
spill.write_bytes = half
keeping.keep(torch.ones(1000))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_at_once(tmp_path):
    Spill(tmp_path / "new" / "below")
    assert (tmp_path / "new" / "below").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"cannot write {tmp_path}/file"):
        Spill(tmp_path / "file")


def test_a_full_disk_is_an_error_that_names_the_folder(tmp_path, monkeypatch):
    spill = Spill(tmp_path)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: open("/dev/full", "wb"))  # noqa: SIM115
    with pytest.raises(OSError, match=f"cannot write {tmp_path}: No space left on device"):
        spill.keep(torch.ones(10_000))
