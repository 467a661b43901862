"""`qkv.observe` with what may be asked of each call beside it."""

from __future__ import annotations

from functools import update_wrapper

from . import live
from .observe import observe as _observe
from .path import MonotonicPath


class _Observe:
    __call__ = staticmethod(_observe)
    argmax = staticmethod(live.argmax)
    mass_on = staticmethod(live.mass_on)
    monotonic_path = MonotonicPath

    def __init__(self) -> None:
        update_wrapper(self, _observe)  # its name, text and arguments for whoever asks


observe = _Observe()
