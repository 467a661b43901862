"""Attention over sequences that are shared among the ranks of a process group.

Keys visit the ranks whose queries see them, while what came before is computed. What ranks find of
their own queries and of visiting keys is put together by the rule of each normalizer and measure.
"""

from ..request.shards import Held, check_shards
from .agreement import agreed, held_here, rank_in, share_here, telling
from .replicated import from_first
from .run import refuse_rows, run

__all__ = [
    "Held",
    "agreed",
    "check_shards",
    "from_first",
    "held_here",
    "rank_in",
    "refuse_rows",
    "run",
    "share_here",
    "telling",
]
