"""What is kept of a matrix: copies, since models write into their caches and go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..ground.tensors import FLOATS
from ..matrix.matrix import AttentionMatrix
from ..matrix.tensors import map_tensors, with_known_captures
from .arrival import UnseenError
from .memo import Memo
from .spill import Spill

MOST = 2**27  # bytes of the scores of a call that has built them, where memory keeps them
_NONE = torch.empty(0, device="cpu")  # what stands for query and key meanwhile
_SMALL = 2**16  # bytes of what stays in memory, whatever else is on the disk


class Keeper:
    """Makes matrices that share no memory with the model and no graph of derivatives.

    Query and key are copied, and take their own numbers' memory alone, in the dtype `keep` if there
    is one, and so are scores that a model has built; with `spill` all that is large is put on the
    disk, and the rest on the CPU, where it comes back. What several layers are given in common is
    copied once. A callable stays what it is, but meets copies of the tensors that it captures.
    """

    def __init__(self, keep: torch.dtype | None = None, spill: Spill | None = None) -> None:
        if keep is not None and keep not in FLOATS:
            raise TypeError(
                f"observe: keep must be torch.float16, bfloat16, float32 or float64; got {keep!r}"
            )
        self._keep = keep
        self._spill = spill
        self._common = Memo(self._copied)

    def kept(self, matrix: AttentionMatrix, materialised: bool = False) -> AttentionMatrix:
        """The matrix by itself. `materialised`: what it has besides query and key are scores that
        the model has built.

        Raises:
            UnseenError: such scores are more than memory is taken for.
            UnsupportedError: what a callable captures cannot be found.
        """
        with torch.inference_mode(False), torch.no_grad():
            own = self._scores if materialised else self._common
            known = with_known_captures(matrix, "observe")
            stages = replace(known, query=_NONE, key=_NONE)
            stages = map_tensors(stages, lambda tensor: own(tensor.detach()))
            query, key = self._vectors(matrix.query, matrix.key)
            return replace(stages, query=query, key=key)

    def room(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Numbers that are yet to be written, where query and key are kept."""
        if self._spill is not None:
            return self._spill.room(shape, dtype)
        return torch.empty(shape, dtype=dtype, device=device)

    def _scores(self, tensor: Tensor) -> Tensor:
        dtype = self._dtype(tensor)
        size = tensor.numel() * dtype.itemsize
        if self._spill is None and size > MOST:
            raise UnseenError(
                f"its scores take {size / 2**20:,.0f} MiB, more than {MOST / 2**20:,.0f} MiB; "
                "spill= keeps them on the disk, heads= fewer, keep= smaller ones, each= none"
            )
        return self._copied(tensor.to(dtype))

    def _copied(self, tensor: Tensor) -> Tensor:
        if self._spill is None:
            return tensor.clone(memory_format=torch.contiguous_format)
        if tensor.numel() * tensor.itemsize > _SMALL:
            return self._spill.keep(tensor)[0]
        return tensor.cpu().clone(memory_format=torch.contiguous_format)

    def _vectors(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        if self._spill is not None:
            narrow = (tensor.detach().to(self._dtype(tensor)) for tensor in tensors)
            return self._spill.keep(*narrow)
        return tuple(
            torch.empty(tensor.shape, dtype=self._dtype(tensor), device=tensor.device).copy_(tensor)
            for tensor in tensors
        )

    def _dtype(self, tensor: Tensor) -> torch.dtype:
        if self._keep is not None and self._keep.itemsize < tensor.dtype.itemsize:
            return self._keep
        return tensor.dtype
