"""Files of tensors: what is written is read back where it lies, and what is not so is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from resident import own_bytes
from torch import Tensor

from qkv.capture.container import DTYPES, Malformed, in_order, read, without_repeats, write


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "file.safetensors"


def written(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    with path.open("wb") as file:
        write(file, tensors, metadata or {})
    return path


def every_dtype() -> dict[str, Tensor]:
    """Sizes such that those of wide numbers could come to lie where they may not begin."""
    return {
        name: torch.arange(place % 5).to(dtype)
        for place, (name, dtype) in enumerate(DTYPES.items())
    }


def test_every_dtype_comes_back_bit_for_bit(path):
    tensors = every_dtype() | {"none": torch.zeros(2, 0, 3), "one": torch.tensor(1.5)}
    found, metadata = read(written(path, tensors, {"a": "ä\n"}))
    assert metadata == {"a": "ä\n"}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype is tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


def test_the_package_safetensors_reads_it_too(path):
    tensors = every_dtype()
    found = safetensors.torch.load_file(written(path, tensors, {"a": "b"}))
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"a": "b"}


def test_a_tensor_whose_sign_is_only_noted_is_written_with_it(path):
    imaginary = torch.tensor([1 + 2j]).conj().imag
    assert imaginary.is_neg()
    noted = torch._neg_view(torch.tensor([3.0]))
    found, _ = read(written(path, {"a": imaginary, "b": noted}))
    assert found["a"].tolist() == [-2.0]
    assert found["b"].tolist() == [-3.0]


def test_it_stays_in_the_file_until_it_is_used(path):
    large = 2**27
    with path.open("wb") as file:
        header = {"a": {"dtype": "F32", "shape": [large // 4], "data_offsets": [0, large]}}
        text = json.dumps(header).encode().ljust(120)
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + large)
    before = own_bytes()
    found, _ = read(path)
    assert found["a"].shape == (large // 4,)
    assert own_bytes() - before < large // 8


def test_what_is_done_to_a_tensor_does_not_reach_the_file(path):
    content = written(path, {"a": torch.ones(4)}).read_bytes()
    found, _ = read(path)
    found["a"].zero_()
    assert path.read_bytes() == content


def test_a_file_that_was_replaced_is_still_read(path):
    found, _ = read(written(path, {"a": torch.ones(10_000)}))
    os.replace(written(path.with_name("other"), {"a": torch.zeros(10_000)}), path)
    assert bool((found["a"] == 1).all())


def test_memory_order_is_kept_without_a_copy():
    tensor = torch.randn(2, 3, 4, 5).transpose(1, 2)
    laid, back = in_order(tensor)
    assert laid.is_contiguous()
    assert laid.permute(back).stride() == tensor.stride()
    assert without_repeats(tensor[:1].expand(7, 4, 3, 5)).shape == (1, 4, 3, 5)
    assert without_repeats(torch.tensor(1.0)).shape == ()


def header_of(path: Path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_text(text: bytes, data: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + data


def edited(**changes: object) -> Callable[[dict, bytes], bytes]:
    """An edit of the first tensor's entry."""

    def edit(header: dict, data: bytes) -> bytes:
        header["a"] |= changes
        return with_text(json.dumps(header).encode(), data)

    return edit


def spaced(header: dict) -> bytes:
    """A header behind which no number of four bytes may begin."""
    text = json.dumps(header).encode()
    return text.ljust(len(text) + (1 - len(text)) % 4)


HOSTILE: dict[str, tuple[Callable[[dict, bytes], bytes], str]] = {
    "nothing": (lambda header, data: b"", "it has 0 bytes"),
    "half a length": (lambda header, data: b"\x08\0\0", "it has 3 bytes"),
    "longer header than the file": (
        lambda header, data: (1000).to_bytes(8, "little") + b"{}",
        "claims 1,000 bytes; the file has 2 behind it",
    ),
    "a header of exabytes": (
        lambda header, data: (2**63 + 5).to_bytes(8, "little") + b"{}",
        r"claims 9,223,372,036,854,775,813 bytes; at most 33,554,432 are read",
    ),
    "a picture": (lambda header, data: b"\x89PNG\r\n\x1a\n" + data, "its header claims"),
    "a pickle": (lambda header, data: with_text(b"\x80\x04cos\nsystem\n"), "no text"),
    "no JSON": (lambda header, data: with_text(b"import os"), "its header: Expecting value"),
    "no object": (lambda header, data: with_text(b"[]"), "no JSON object"),
    "brackets beyond the parser": (
        lambda header, data: with_text(b"[" * 100_000 + b"]" * 100_000),
        "too many brackets|more than 200 brackets",
    ),
    "brackets within brackets": (
        lambda header, data: with_text(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"),
        "more than 200 brackets within brackets",
    ),
    "a name twice": (
        lambda header, data: with_text(
            b"{" + b",".join([b'"a":' + json.dumps(header["a"]).encode()] * 2) + b"}", data
        ),
        "the name 'a' twice",
    ),
    "a text twice": (
        lambda header, data: with_text(b'{"__metadata__":{"x":"1","x":"2"}}'),
        "the name 'x' twice",
    ),
    "texts that are none": (
        lambda header, data: with_text(b'{"__metadata__":{"x":1}}'),
        "__metadata__ must hold texts",
    ),
    "no number": (edited(shape=[float("nan")]), "NaN, which is no number"),
    "a number of 5,000 digits": (
        lambda header, data: with_text(b'{"a":' + b"9" * 5000 + b"}"),
        "its header: Exceeds the limit",
    ),
    "an entry that is none": (
        lambda header, data: with_text(b'{"a":3}', data),
        "must have dtype, shape and data_offsets",
    ),
    "an unknown dtype": (edited(dtype="F8_E4M3"), "has the dtype 'F8_E4M3', which is none of BOOL"),
    "a dtype that is a list": (edited(dtype=["F32"]), r"has the dtype \['F32'\]"),
    "a negative size": (edited(shape=[-4]), r"has the shape \[-4\]"),
    "a size that is no number": (edited(shape=[True, 4]), r"has the shape \[True, 4\]"),
    "too many cells": (edited(shape=[2**61, 2**61]), "has the shape"),
    "a hundred dimensions": (edited(shape=[1] * 100), "has the shape"),
    "another size": (edited(shape=[5]), "takes 20 bytes; its data_offsets .0, 16. are 16 apart"),
    "places from behind": (edited(data_offsets=[16, 0]), "are -16 apart"),
    "three places": (edited(data_offsets=[0, 8, 16]), "are no two places"),
    "a place beyond the end": (
        edited(data_offsets=[2**40, 2**40 + 16]),
        "'b' begins at byte 16, behind a gap",
    ),
    "a place inside another": (edited(data_offsets=[24, 40]), "behind a gap"),
    "the same place twice": (
        lambda header, data: with_text(
            json.dumps({"a": header["a"], "b": header["a"]}).encode(), data
        ),
        "'b' begins at byte 0, inside another",
    ),
    "cut off": (lambda header, data: with_text(json.dumps(header).encode(), data[:-1]), "cut off"),
    "more behind it": (
        lambda header, data: with_text(json.dumps(header).encode(), data + b"x"),
        "has 1 bytes behind its tensors",
    ),
    "between two places of its numbers": (
        lambda header, data: with_text(spaced(header), data),
        "begins at byte .*, where no torch.float32 can",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(path, name):
    edit, reason = HOSTILE[name]
    header, data = header_of(written(path, {"a": torch.ones(4), "b": torch.ones(6)}))
    del header["__metadata__"]
    path.write_bytes(edit(header, data))
    with pytest.raises(Malformed, match=reason):
        read(path)


def test_long_claims_are_told_in_short(path):
    path.write_bytes(with_text(json.dumps({"n" * 10_000: 3}).encode()))
    with pytest.raises(Malformed) as refusal:
        read(path)
    assert len(str(refusal.value)) < 200


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    with pytest.raises(IsADirectoryError, match=f"{tmp_path} is a folder"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=f"{tmp_path}/pipe is no file"):
        read(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")
    with pytest.raises(OSError, match="/dev/zero is no file"):
        read(Path("/dev/zero"))


def test_a_header_that_could_not_be_read_is_not_written(path):
    with pytest.raises(ValueError, match="at most 33,554,432 can be written"):
        written(path, {}, {"a": "x" * 2**25})
