"""What is kept of a matrix: copies, since models write into their caches and go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..matrix.matrix import AttentionMatrix, map_tensors
from .memo import Memo
from .spill import Spill


class Keeper:
    """Makes matrices that share no memory with the model and no graph of derivatives.

    Query and key are copied, and take their own numbers' memory alone, in the dtype `keep` if there
    is one; with `spill` they are put on the disk, and all else on the CPU, where they come back.
    What several layers are given in common is copied once.
    """

    def __init__(self, keep: torch.dtype | None = None, spill: Spill | None = None) -> None:
        if keep is not None and not (isinstance(keep, torch.dtype) and keep.is_floating_point):
            raise TypeError(f"observe: keep must be a floating dtype; got {keep!r}")
        self._keep = keep
        self._spill = spill
        self._common = Memo(_copied)

    def kept(self, matrix: AttentionMatrix) -> AttentionMatrix:
        """The matrix by itself."""
        with torch.inference_mode(False), torch.no_grad():
            stages = map_tensors(matrix, lambda tensor: self._stage(matrix, tensor))
            query, key = self._vectors(matrix.query, matrix.key)
            return replace(stages, query=query, key=key)

    def room(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Numbers that are yet to be written, where query and key are kept."""
        if self._spill is not None:
            return self._spill.room(shape, dtype)
        return torch.empty(shape, dtype=dtype, device=device)

    def _stage(self, matrix: AttentionMatrix, tensor: Tensor) -> Tensor:
        if tensor is matrix.query or tensor is matrix.key:
            return tensor
        kept = self._common(tensor.detach())
        return kept if self._spill is None else kept.cpu()

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


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)
