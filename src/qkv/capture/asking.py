"""`qkv.observe` with what may be asked of each call beside it."""

from __future__ import annotations

from . import live
from .observe import observe as _observe
from .path import MonotonicPath


class _Observe:
    __doc__ = _observe.__doc__
    __call__ = staticmethod(_observe)
    argmax = staticmethod(live.argmax)
    mass_on = staticmethod(live.mass_on)
    monotonic_path = MonotonicPath

    def __repr__(self) -> str:
        return "<function qkv.observe>"


observe = _Observe()
