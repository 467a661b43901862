"""Tensors put on the disk while a model runs, and read back where they lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from ..ground.files import naming
from .container import LINE, bytes_of, in_order, mapped, without_repeats, write_bytes


class Spill:
    """Keeps tensors in files without a name, in a folder of the user's.

    A file belongs to the tensors that lie in it and goes when the last of them does, so the folder
    looks empty all the while, and after the process was killed it is.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Raises OSError where files cannot be made in the folder; it is made where it is not
        there yet."""
        self.folder = Path(folder)
        with naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()

    def keep(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The same numbers on the CPU, all in one file, in the order in which they lie in memory.

        Raises:
            OSError: they cannot be written, such as to a full disk; it names the folder.
        """
        ordered = [in_order(without_repeats(tensor.detach())) for tensor in tensors]
        starts, end = [], 0
        with naming(self.folder), tempfile.TemporaryFile(dir=self.folder) as file:
            for tensor, _ in ordered:
                starts.append(end)
                write_bytes(file, tensor)
                end += bytes_of(tensor)
                file.write(bytes(-end % LINE))
                end += -end % LINE
            file.flush()
            whole = mapped(file, end)
        kept = (
            whole[start : start + bytes_of(laid)].view(laid.dtype).view(laid.shape).permute(back)
            for start, (laid, back) in zip(starts, ordered, strict=True)
        )
        return tuple(one.expand(tensor.shape) for one, tensor in zip(kept, tensors, strict=True))

    def room(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Room in a file for numbers that are still to come.

        Raises:
            OSError: the disk has no room; it names the folder.
        """
        size = prod(shape) * dtype.itemsize
        with naming(self.folder), tempfile.TemporaryFile(dir=self.folder) as file:
            # All of it is taken now: writing to memory for which the disk has no room left would
            # end the process.
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                write_bytes(file, torch.zeros(size, dtype=torch.uint8, device="cpu"))
                file.flush()
            whole = mapped(file, size, shared=True)
        return whole.view(dtype).view(*shape)
