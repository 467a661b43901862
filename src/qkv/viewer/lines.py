"""Single rows and columns of a matrix: where one query looks, and who looks at one key."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import torch
from torch import Tensor

from ..ground.errors import UnsupportedError
from ..matrix.matrix import AttentionMatrix
from ..matrix.region import Region
from .subject import At, Subject

MOST_SUMS = 64  # heads


class Lines:
    """Rows and columns of heads. A row needs one query. A column needs of all queries what their
    scores are divided by: for a softmax that is one number each, which is kept for the heads that
    were asked for last; every other normalizer is swept through for each column.

    Args:
        subject: whose heads they are.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._sums: OrderedDict[At, Tensor | None] = OrderedDict()
        self._lock = Lock()

    @torch.no_grad()
    def row(self, at: At, query: int) -> Tensor:
        """The weights of one query, `[Lk]`.

        Raises:
            IndexError: there is no such query.
        """
        return self._subject.matrix(at).detach()[query, :]

    @torch.no_grad()
    def column(self, at: At, key: int) -> Tensor:
        """The weights that one key has from each query, `[Lq]`.

        Raises:
            IndexError: there is no such key.
        """
        matrix = self._subject.alone(at).detach()
        region = Region.of(slice(None), key, matrix.shape, matrix.device)
        sums = self._of(at, matrix)
        if sums is None:
            return region.weights(matrix)
        weights = torch.exp(region.scores(matrix, biased=True) - sums)
        return torch.where(region.visible(matrix), weights, 0)

    def _of(self, at: At, matrix: AttentionMatrix) -> Tensor | None:
        """The logarithm of what each query's exponentials are divided by, `[Lq]`; None where its
        weights are something else."""
        with self._lock:  # one sweep at a time, for it takes all cores
            if at not in self._sums:
                self._sums[at] = _sums(matrix)
            self._sums.move_to_end(at)
            while len(self._sums) > MOST_SUMS:
                self._sums.popitem(last=False)
            return self._sums[at]


def _sums(matrix: AttentionMatrix) -> Tensor | None:
    if getattr(matrix.normalizer, "sink", None) is not None or matrix.dropped is not None:
        return None
    try:
        return matrix.logsumexp()
    except UnsupportedError:  # no softmax
        return None
