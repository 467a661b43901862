"""Masks: which keys a query may see. One file each; this tuple lists them all, less what combines
them."""

from .base import Mask
from .causal import Causal
from .dense import Dense
from .padding import Padding

MASKS: tuple[type[Mask], ...] = (Causal, Padding, Dense)
