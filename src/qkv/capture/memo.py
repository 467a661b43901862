"""What was made of a tensor, for as long as its numbers are there and the same.

The layers of a model are given one mask; it is looked through once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

Made = TypeVar("Made")
_MOST = 8  # tensors: a model has few masks at a time


class Memo(Generic[Made]):
    """A function of a tensor that is not computed again for the same numbers in the same place."""

    def __init__(self, function: Callable[[Tensor], Made]) -> None:
        self._function = function
        self._made: dict[tuple, tuple[StorageWeakRef, Made]] = {}

    def __call__(self, tensor: Tensor) -> Made:
        if (
            tensor.is_inference() or tensor.requires_grad
        ):  # no version; a graph of its own each time
            return self._function(tensor)
        storage = tensor.untyped_storage()
        # No other storage gets the address of one to which there is a weak reference.
        place = (storage._cdata, tensor.storage_offset(), tensor.shape, tensor.stride())
        key = (*place, tensor.dtype, tensor._version)
        if key in self._made:
            return self._made[key][1]
        made = self._function(tensor)
        alive = {k: kept for k, kept in self._made.items() if not kept[0].expired()}
        while len(alive) >= _MOST:
            del alive[next(iter(alive))]
        self._made = {**alive, key: (StorageWeakRef(storage), made)}
        return made
