"""Masks: which keys a query may see. Each has a file; the tuple `MASKS` lists them all, without the
combinations `&`, `|` and `~`."""

from .base import Mask
from .causal import Causal
from .custom import CustomMask
from .dense import Dense
from .documents import Documents
from .intervals import Intervals
from .padding import Padding
from .prefix import Prefix
from .window import Window

MASKS: tuple[type[Mask], ...] = (
    Causal,
    Padding,
    Dense,
    Window,
    Prefix,
    Documents,
    Intervals,
    CustomMask,
)
