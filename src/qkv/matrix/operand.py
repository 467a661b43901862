"""What a matrix is multiplied by."""

from __future__ import annotations

from torch import Tensor

from ..ground.autocast import cast_for_autocast
from ..ground.tensors import check_floats, is_tensor, shape_of
from ..request.description import Description


def operand(matrix: Description, tensor: Tensor, what: str) -> Tensor:
    """A tensor as the matrix takes it, after a check; `what` names it in errors.

    Raises:
        TypeError: no tensor, or none of a type that is computed with.
        ValueError: another dtype or device than the matrix has, fewer than two dimensions.
    """
    if not is_tensor(tensor):
        raise TypeError(f"{what} must be a tensor; got {type(tensor).__name__}")
    check_floats(what, tensor)
    tensor = cast_for_autocast(tensor)
    query = matrix.query
    if tensor.dtype is not query.dtype or tensor.device != query.device:
        raise ValueError(
            f"{what} must have the dtype and device of the matrix ({matrix.dtype}, "
            f"{matrix.device}); got {tensor.dtype}, {tensor.device}"
        )
    if tensor.ndim < 2:
        raise ValueError(f"{what} must have at least two dimensions; got {shape_of(tensor)}")
    return tensor
