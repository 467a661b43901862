"""`with qkv.accelerate():` a model's calls of torch's attention function are computed by qkv."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any

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


class _Thread(threading.local):
    """The contexts that this thread is in, and whether layers are kept off their fast paths."""

    inside: tuple[Acceleration, ...] = ()
    slow: bool = False


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

    def __repr__(self) -> str:
        left = "".join(f"; torch {count}: {why}" for why, count in self.left.most_common())
        return f"Acceleration: qkv computed {self.taken} calls{left}"

    def __enter__(self) -> Acceleration:
        global _open
        with _lock:
            if not _open:
                _replaced.place(_patches())
            _open += 1
        _thread.inside = (*_thread.inside, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _open
        # Contexts may end in another order than they began.
        places = [place for place, one in enumerate(_thread.inside) if one is self]
        if places:
            _thread.inside = (*_thread.inside[: places[-1]], *_thread.inside[places[-1] + 1 :])
        with _lock:
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
        if not _thread.inside:
            return original(*args, **kwargs)
        calls = _thread.inside[-1]
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
    """By the kernels, or one of qkv's errors."""
    if is_tensor(query) and is_tensor(key) and not query.is_nested and not key.is_nested:
        least = _PLAIN if attn_mask is None and not dropout_p else _ANY
        if query.numel() * key.shape[-2] < least and not is_traced():
            raise UnsupportedError("too small to gain")
    return attended(query, key, value, attn_mask, dropout_p, *rest, **options, impl="native")


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
        if torch.compiler.is_compiling() or not _thread.inside or not _gains(x):
            return original(self, *args, **kwargs)
        before, _thread.slow = _thread.slow, True
        try:
            return original(self, *args, **kwargs)
        finally:
            _thread.slow = before

    return forward


def _gains(x: object) -> bool:
    """Whether attention of a sequence, or a batch of some, to itself is large enough."""
    if not is_tensor(x) or x.is_nested or x.ndim < 2:
        return False
    return x.numel() * max(x.shape[:-1]) >= _PLAIN
