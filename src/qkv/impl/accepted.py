"""What an implementation answers that serves a request.

Each implementation is a module with a `NAME` and `accept(description, measures)`, which returns the
prepared call or why it cannot be served.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


class Accepted:
    """A request that is served: prepared, and to be run once."""

    bytes_per_cell = 0  # of working memory, for each cell of a block

    @property
    def blocks(self) -> list[int]:
        """How many cells each block has that the matrix is computed in."""
        raise NotImplementedError

    def run(self) -> list[Any] | None:
        """The results of the measures as the user sees them; None where values turn out to be such
        that they cannot be served."""
        raise NotImplementedError

    def gradients_of_part(
        self, output: Tensor, logsumexp: Tensor, gradient: Tensor
    ) -> list[tuple[Tensor, Tensor]] | None:
        """Where the keys are a part of those of a softmax: the gradients of what this is computed
        from, beside it, given `A @ value` of all keys and its gradient, `[B..., H, Lq, Dv]`, and
        the logsumexp of all, `[B..., H, Lq]`. None as in `gradients`."""
        return None

    def gradients(self, gradient: Tensor) -> Sequence[Tensor] | None:
        """Those of query, key and value, given that of `A @ value`, without autograd; None where it
        has no such kernels, or as `run`."""
        return None
