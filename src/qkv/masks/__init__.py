"""Masks: which keys a query may see. One file each; this tuple lists them all, less what combines
them."""

from .base import Mask
from .causal import Causal
from .custom import CustomMask
from .dense import Dense
from .documents import Documents
from .padding import Padding
from .prefix import Prefix
from .window import Window

MASKS: tuple[type[Mask], ...] = (Causal, Padding, Dense, Window, Prefix, Documents, CustomMask)
