"""Tensors in one file, used where they lie: the format of safetensors, written and read strictly.

The file is one that the package safetensors reads as well. It is written here because that package
wants every tensor in one piece before it starts, which is a second copy of what was captured; here
one tensor at a time is put in order. It is read here because a file may come from anyone: names
that stand twice, places that overlap or lie beyond the end, and a header that claims more than
there is are refused before anything is made of them.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_METADATA = "__metadata__"
_LONGEST_HEADER = 2**25  # bytes
_DEEPEST = 200  # brackets within brackets
_LARGEST = 2**62  # of any number of cells
_MOST_DIMENSIONS = 64
_TOLD = 80  # characters of what is wrong
LINE = 64  # bytes: where tensors like to begin


class Malformed(ValueError):  # noqa: N818 - it is turned into an error that names the file
    """What is wrong with a file."""


def write(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors, one after the other, and lines of text beside them.

    Raises:
        ValueError: the header would be longer than can be read.
    """
    # Those that fill whole lines come first, then wider numbers before narrower ones: then each
    # begins where numbers of its type may.
    ordered = sorted(tensors.items(), key=lambda item: _rank(item[1]))
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + bytes_of(tensor)
        entry = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape)}
        header[name] = entry | {"data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % LINE)
    if len(text) > _LONGEST_HEADER:
        raise ValueError(
            f"save: what is said beside the tensors takes {len(text):,} bytes; at most "
            f"{_LONGEST_HEADER:,} can be written: save fewer calls, or shorter labels"
        )
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for _, tensor in ordered:
        write_bytes(file, tensor)


def _rank(tensor: Tensor) -> tuple[bool, int]:
    return bytes_of(tensor) % LINE != 0, -tensor.itemsize


def bytes_of(tensor: Tensor) -> int:
    """How many bytes its numbers take."""
    return tensor.numel() * tensor.itemsize


def without_repeats(tensor: Tensor) -> Tensor:
    """One entry of each dimension along which a tensor repeats itself."""
    if not tensor.ndim:
        return tensor
    return tensor[tuple(slice(None if step else 1) for step in tensor.stride())]


def in_order(tensor: Tensor) -> tuple[Tensor, list[int]]:
    """The tensor with its dimensions in the order in which they lie in memory, and the permutation
    that leads back. That order is kept, since products of the same numbers in another one may
    have other last bits, and since nothing is copied then."""
    wide = [dim for dim, size in enumerate(tensor.shape) if size > 1]
    by_step = sorted(wide, key=lambda dim: -tensor.stride(dim))
    if by_step == wide:
        return tensor, list(range(tensor.ndim))
    order = [*(dim for dim in range(tensor.ndim) if dim not in wide), *by_step]
    return tensor.permute(order), [order.index(dim) for dim in range(tensor.ndim)]


def write_bytes(file: BinaryIO, tensor: Tensor) -> None:
    """Write a tensor's numbers in the order of its dimensions."""
    tensor = tensor.detach().cpu().resolve_neg().contiguous()
    if tensor.numel():
        file.write((ctypes.c_char * bytes_of(tensor)).from_address(tensor.data_ptr()))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, which lie in it until they are used, and the text beside them.

    Raises:
        Malformed: the file is not what `write` makes.
        OSError: it cannot be read, or is no file.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        header, start = _header(file, size)
        metadata = header.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise Malformed(f"{_METADATA} must hold texts")
        places = {name: _place(name, entry) for name, entry in header.items()}
        _check_places(places, size - start)
        whole = mapped(file, size)
    found = {}
    for name, (dtype, shape, first, last) in places.items():
        if (start + first) % dtype.itemsize:
            raise Malformed(
                f"tensor {clipped(name)} begins at byte {start + first}, where no {dtype} can"
            )
        found[name] = whole[start + first : start + last].view(dtype).view(shape)
    return found, metadata


def open_file(path: Path) -> BinaryIO:
    """A file to read. What is no file, as a pipe, is refused and not waited for."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path} is no file")
    return file


def mapped(file: BinaryIO, size: int, *, shared: bool = False) -> Tensor:
    """The first bytes of an open file, `[size]`, which stay in it until they are used. What is
    written into the tensor reaches the file where it is `shared`, and not otherwise."""
    if size == 0:
        return torch.empty(0, dtype=torch.uint8, device="cpu")
    name = f"/dev/fd/{file.fileno()}"  # by itself: its name may be gone, or be another's by now
    storage = torch.UntypedStorage.from_file(name, shared=shared, nbytes=size)
    return torch.empty(0, dtype=torch.uint8, device="cpu").set_(storage)  # pyright: ignore[reportArgumentType]


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin."""
    if size < 8:
        raise Malformed(f"it has {size} bytes, fewer than the length of a header takes")
    length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_HEADER:
        raise Malformed(f"its header claims {length:,} bytes; at most {_LONGEST_HEADER:,} are read")
    if length > size - 8:
        raise Malformed(f"its header claims {length:,} bytes; the file has {size - 8:,} behind it")
    try:
        header = parsed(file.read(length).decode())
    except UnicodeDecodeError:
        raise Malformed("its header is no text") from None
    if not isinstance(header, dict):
        raise Malformed("its header is no JSON object")
    return header, 8 + length


def parsed(text: str) -> Any:
    """A JSON value from anyone.

    Raises:
        Malformed: it is none, holds a name twice, numbers that are not finite, or brackets within
            brackets beyond measure.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise Malformed("its header has too many brackets within brackets") from None
    except ValueError as error:
        raise error if isinstance(error, Malformed) else Malformed(f"its header: {error}") from None
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [
            inner for outer in level if isinstance(outer, (dict, list)) for inner in _in(outer)
        ]
        if not level:
            return value
    raise Malformed(f"its header has more than {_DEEPEST} brackets within brackets")


def _in(outer: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Malformed(f"its header has the name {clipped(name)} twice")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise Malformed(f"its header holds {name}, which is no number")


def _place(name: str, entry: Any) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    """Dtype, shape, and first and last byte, as an entry of the header claims them."""
    what = f"tensor {clipped(name)}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise Malformed(f"{what} must have dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise Malformed(
            f"{what} has the dtype {clipped(dtype)}, which is none of {', '.join(DTYPES)}"
        )
    if not are_sizes(shape) or prod(shape) > _LARGEST:
        raise Malformed(f"{what} has the shape {clipped(shape)}, which is none")
    if not are_sizes(offsets) or len(offsets) != 2:
        raise Malformed(f"{what} has the data_offsets {clipped(offsets)}, which are no two places")
    first, last = offsets
    size = prod(shape) * DTYPES[dtype].itemsize
    if last - first != size:
        raise Malformed(
            f"{what} of {dtype} {clipped(shape)} takes {size:,} bytes; its data_offsets {offsets} "
            f"are {last - first:,} apart"
        )
    return DTYPES[dtype], tuple(shape), first, last


def are_sizes(thing: Any) -> bool:
    """Whether this is a list of sizes, such as a tensor may have."""
    if not isinstance(thing, list) or len(thing) > _MOST_DIMENSIONS:
        return False
    return all(type(size) is int and 0 <= size <= _LARGEST for size in thing)


def clipped(thing: Any) -> str:
    """What a file holds, as an error tells it."""
    text = repr(thing)
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}..."


def _check_places(places: Mapping[str, tuple[Any, Any, int, int]], size: int) -> None:
    """Raises unless the tensors lie one behind the other and fill the file."""
    end = 0
    for name, (_, _, first, last) in sorted(places.items(), key=lambda item: item[1][2:]):
        if first != end:
            where = "inside another" if first < end else "behind a gap"
            raise Malformed(f"tensor {clipped(name)} begins at byte {first:,}, {where}")
        end = last
    if end > size:
        raise Malformed(
            f"it is cut off: its tensors take {end:,} bytes, and it has {size:,} behind its header"
        )
    if end < size:
        raise Malformed(f"it has {size - end:,} bytes behind its tensors that belong to none")
