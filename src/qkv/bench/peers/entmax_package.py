"""Dense torch with the normalizers of the `entmax` package."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from torch import Tensor

from qkv.bench.work import Contender, Inputs, Results

NAME = "entmax"


def entmax(inputs: Inputs, normalizer: str, needs: int) -> Contender:
    """Scores, `entmax.<normalizer>` and the product, each with the whole matrix."""

    def prepare() -> Callable[[], Results]:
        normalize = getattr(import_module("entmax"), normalizer)

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return normalize(query @ key.mT * query.shape[-1] ** -0.5, -1) @ value

        return lambda: inputs.outcome(attend(inputs.query, inputs.key, inputs.value))

    return Contender(NAME, prepare, packages=("entmax",), needs=needs)
