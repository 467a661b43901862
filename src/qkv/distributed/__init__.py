"""Attention over sequences that are shared among the ranks of a process group.

Keys visit the ranks whose queries see them, while what came before is computed. What ranks find of
their own queries and of visiting keys is put together by the rule of each normalizer and measure.
"""

from .agreement import agreed, held_here
from .run import refuse_rows, run

__all__ = ["agreed", "held_here", "refuse_rows", "run"]
