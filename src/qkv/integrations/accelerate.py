"""`with qkv.accelerate():` a model's calls of torch's attention function are computed by qkv."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ground.errors import UnsupportedError
from ..ground.replaced import Patch, Replaced
from ..ground.tensors import is_tensor, is_traced
from ..matrix.scaled_dot_product import attended

# From so many multiply-adds of the scores on a call takes no longer than torch's: one of all keys
# or causal, and one with a mask or dropout.
_PLAIN, _ANY = 2**21, 2**24


@dataclass(eq=False)
class _Entry:
    """That a thread entered a context. Another one may end it, as where a generator goes on in a
    pool of threads."""

    calls: Acceleration
    ended: bool = False


class _Thread(threading.local):
    """What this thread entered, and whether layers are kept off their fast paths."""

    entries: tuple[_Entry, ...] = ()
    slow: bool = False

    def inside(self) -> Acceleration | None:
        """The innermost context that the thread is in."""
        if self.entries and self.entries[-1].ended:
            self.entries = tuple(entry for entry in self.entries if not entry.ended)
        return self.entries[-1].calls if self.entries else None


_thread = _Thread()
_lock = threading.RLock()
_replaced = Replaced()
_open = 0  # contexts, of all threads


class Acceleration:
    """The context that `qkv.accelerate()` gives, and who computed the calls that were made in it,
    those of compiled programs left out.

    `taken`: how many qkv computed. `left`: how many torch did, by the reason.
    """

    def __init__(self) -> None:
        self.taken = 0
        self.left: Counter[str] = Counter()
        self._entries: list[_Entry] = []  # of all threads, that have not ended

    def __repr__(self) -> str:
        left = "".join(f"; torch {count}: {why}" for why, count in self.left.most_common())
        return f"Acceleration: qkv computed {self.taken} calls{left}"

    def __enter__(self) -> Acceleration:
        global _open
        with _lock:
            if not _open:
                _replaced.place(_patches())
            _open += 1
            entry = _Entry(self)
            self._entries.append(entry)
        _thread.entries = (*_thread.entries, entry)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _open
        with _lock:
            if not self._entries:
                raise RuntimeError("accelerate: a context must be entered before it ends")
            # Contexts may end in another order than they began.
            own = [entry for entry in self._entries if entry in _thread.entries]
            ending = (own or self._entries)[-1]
            ending.ended = True
            self._entries.remove(ending)
            _open -= 1
            if not _open:
                _replaced.restore()


def accelerate() -> Acceleration:
    """A context in which qkv computes the calls of
    `torch.nn.functional.scaled_dot_product_attention` that its kernels can compute, and that are
    large enough to gain by it. All others torch computes as before.

    It holds for the thread that is in it and for the function under any name that a module has for
    it, so also for `nn.MultiheadAttention` and the layers of `nn.Transformer`, which meanwhile
    leave their fast paths where qkv is to attend. Contexts may be nested. Programs of
    `torch.compile` are compiled anew when they first run within, in whatever thread; in them qkv
    computes what has neither mask nor dropout.

    Returns:
        A context whose value says who computed what.

    Example:
        ```python
        with qkv.accelerate() as calls:
            model(tokens)
        print(calls)
        ```
    """
    return Acceleration()


def _patches() -> list[Patch]:
    kinds = (nn.MultiheadAttention, "query"), (nn.TransformerEncoderLayer, "src")
    return [
        Patch(F, "scaled_dot_product_attention", _accelerated),
        Patch(torch.backends.mha, "get_fastpath_enabled", _unless_slow, everywhere=False),
        *(
            Patch(kind, "forward", functools.partial(_slow, what=what), everywhere=False)
            for kind, what in kinds
        ),
    ]


def _accelerated(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function of torch, by qkv where it can."""

    @functools.wraps(original)
    def scaled_dot_product_attention(*args: Any, **kwargs: Any) -> Tensor:
        if torch.compiler.is_compiling():
            return _traced(original, *args, **kwargs)
        calls = _thread.inside()
        if calls is None:
            return original(*args, **kwargs)
        try:
            output = _attended(*args, **kwargs)
        except (UnsupportedError, TypeError, ValueError) as error:
            calls.left[str(error)] += 1
            return original(*args, **kwargs)
        calls.taken += 1
        return output

    return scaled_dot_product_attention


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    *rest: Any,
    **options: Any,
) -> Tensor:
    """By the kernels, or one of qkv's errors, which leaves the next random numbers to torch."""
    if _is_sequence(query) and _is_sequence(key):
        least = _PLAIN if attn_mask is None and not dropout_p else _ANY
        if query.numel() * key.shape[-2] < least and not is_traced():
            raise UnsupportedError("too small to gain")
        if not query.is_cpu:
            raise UnsupportedError("tensors that are not in the processor's memory")
    before = torch.get_rng_state() if dropout_p else None
    try:
        return attended(query, key, value, attn_mask, dropout_p, *rest, **options, impl="native")
    except (UnsupportedError, TypeError, ValueError):
        if before is not None:
            torch.set_rng_state(before)
        raise


def _is_sequence(thing: object) -> TypeGuard[Tensor]:
    return is_tensor(thing) and not thing.is_nested and thing.ndim > 1


def _traced(
    original: Callable[..., Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    *rest: Any,
    **options: Any,
) -> Tensor:
    """One operator where it is plain attention on a processor, else torch's function."""
    given = (query, key, value, attn_mask, dropout_p, *rest)
    if attn_mask is None and dropout_p == 0 and query.device.type == "cpu":
        return attended(*given, **options, impl="auto")
    return original(*given, **options)


def _unless_slow(original: Callable[[], bool]) -> Callable[[], bool]:
    """torch's switch of fast paths, off for this thread where it says so."""

    @functools.wraps(original)
    def get_fastpath_enabled() -> bool:
        return original() and (torch.compiler.is_compiling() or not _thread.slow)

    return get_fastpath_enabled


def _slow(original: Callable[..., Any], what: str) -> Callable[..., Any]:
    """A layer's method, off its fast path where that attends to what qkv would take. Of a nested
    tensor it leaves padding out, which gains more."""

    @functools.wraps(original)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        x = args[0] if args else kwargs.get(what)
        if torch.compiler.is_compiling() or _thread.inside() is None or not _gains(x):
            return original(self, *args, **kwargs)
        before, _thread.slow = _thread.slow, True
        try:
            return original(self, *args, **kwargs)
        finally:
            _thread.slow = before

    return forward


def _gains(x: object) -> bool:
    """Whether attention of a sequence, or a batch of some, to itself is large enough."""
    return _is_sequence(x) and x.numel() * max(x.shape[:-1]) >= _PLAIN
