"""What happens to scores between product and normalizer, as the kernels take it: biases, and masks
in bits. Tensors are in the canonical layout, as in the package; numbers are in the type of the
arithmetic, float64 for float64 and else float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._tensors import accumulation_dtype
from .request import BIASES, Bias

MOST_BIASES = 8  # as in cpp/request.h


def cells(values: Tensor, gradient: Tensor | None = None) -> Bias:
    """Adds `values` `[batch, Hk, G, Lq, Lk]`, each dimension in full or 1; -inf hides a pair. To
    `gradient`, of the shape of the values, `backward` adds theirs."""
    dense = values if values.stride(-1) == 1 or values.shape[-1] == 1 else values.contiguous()
    return Bias(BIASES.index("cells"), dense, gradient=gradient)


def distance(values: Tensor, origin: int, gradient: Tensor | None = None) -> Bias:
    """Adds `values[..., j - position_i + origin]`, values `[batch, Hk, G, numbers]`, which have an
    entry for every distance of a key from a query. Gradient as of `cells`."""
    return Bias(BIASES.index("distance"), values.contiguous(), origin=origin, gradient=gradient)


def soft_cap(limit: float) -> Bias:
    """`limit * tanh(score / limit)`; a score of -inf stays."""
    return Bias(BIASES.index("soft_cap"), limit=limit)


def bits(visible: Tensor) -> Tensor:
    """A mask, bool `[batch, Hk, G, Lq, Lk]` with 1 where it is shared (not over keys), as bits:
    uint8 `[batch, Hk, G, Lq, ceil(Lk / 8)]`, key j in bit `j % 8` of byte `j // 8`."""
    padded = torch.nn.functional.pad(visible, (0, -visible.shape[-1] % 8)).unflatten(-1, (-1, 8))
    weight = 2 ** torch.arange(8, dtype=torch.uint8, device=visible.device)
    return (padded * weight).sum(-1, dtype=torch.uint8)


def check(
    function: str,
    lead: tuple[int, ...],
    keys: int,
    dtype: torch.dtype,
    biases: tuple[Bias, ...],
    positions: Tensor | None,
    bits: Tensor | None,
) -> None:
    """Refuses what does not fit a request: the kernels read where these tell them.

    Raises:
        ValueError: shapes that do not fit, distances without an entry, too many biases.
        TypeError: other types than those that the kernels read.
    """
    if len(biases) > MOST_BIASES:
        raise ValueError(
            f"{function}: at most {MOST_BIASES} biases can be given; got {len(biases)}"
        )
    if bits is not None:
        fits(function, "bits", bits, (*lead, (keys + 7) // 8), torch.uint8, shared=4)
    if positions is not None:
        fits(function, "positions", positions, lead, torch.int64, shared=3)
    real = accumulation_dtype(dtype)
    for bias in biases:
        if bias.values is None:
            if BIASES[bias.kind] != "soft_cap":
                raise ValueError(f"{function}: a bias of this kind must have values")
            continue
        shape = (*lead, keys)
        if BIASES[bias.kind] == "distance":
            shape = (*lead[:3], bias.values.shape[-1])
            _check_distances(function, lead[3], keys, bias, positions)
        for name, tensor in (("values", bias.values), ("gradient", bias.gradient)):
            if tensor is not None:
                fits(function, f"the {name} of a bias", tensor, shape, real, shared=5)
        if bias.gradient is not None and bias.gradient.shape != bias.values.shape:
            raise ValueError(
                f"{function}: the gradient of a bias must be of the shape of its values, "
                f"{list(bias.values.shape)}; got {list(bias.gradient.shape)}"
            )


def fits(
    function: str,
    name: str,
    tensor: Tensor,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    shared: int,
) -> None:
    """`shared`: so many of the first dimensions may be 1. The last one must lie side by side."""
    if tensor.dtype != dtype or not tensor.is_cpu:
        raise TypeError(
            f"{function}: {name} must be {dtype} on the CPU; got {tensor.dtype} on {tensor.device}"
        )
    sizes = [(1, size) if i < shared else (size,) for i, size in enumerate(shape)]
    right = tensor.ndim == len(shape)
    right = right and all(size in fit for size, fit in zip(tensor.shape, sizes, strict=True))
    if not right:
        raise ValueError(
            f"{function}: {name} must be {list(shape)}, {'1 where shared' if shared else ''}; "
            f"got {list(tensor.shape)}"
        )
    if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
        raise ValueError(f"{function}: {name} must have its last dimension side by side")


def _check_distances(
    function: str, queries: int, keys: int, bias: Bias, positions: Tensor | None
) -> None:
    first, last = 0, queries - 1
    if positions is not None:
        first, last = int(positions.min()), int(positions.max())
    assert bias.values is not None
    if bias.origin < last or keys - 1 - first + bias.origin >= bias.values.shape[-1]:
        raise ValueError(
            f"{function}: a bias of distances must have an entry for each of {-last} ... "
            f"{keys - 1 - first}; got {bias.values.shape[-1]} with 0 at {bias.origin}"
        )
