"""`qkv.observe`: records the attention calls of a model while it runs."""

from __future__ import annotations

import fnmatch
import os
import re
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from math import isnan
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from ..ground.tensors import integer, is_hollow, is_traced
from ..matrix.matrix import AttentionMatrix
from ..matrix.tensors import has_callables
from . import patches, sources
from .arrival import Arrival, UnseenError, matrix_of
from .call import Call
from .capture import Capture
from .frames import Caller, caller
from .joined import Joined, apart, bounds_for_all, cache_of, joinable
from .keeping import Keeper
from .placing import placed
from .running import compiled, patches_of, scripted, silent
from .sighting import Sighting, UnrelatedError
from .some_heads import of_heads
from .spill import Spill

_OPEN = 4  # calls of a module that may go on: one for each sequence or each part of a layer
_PATHS = 2**16  # that are gone through beside the first of each module

_UNSEEN = "it ran, and computes attention in a way of its own that cannot be seen"

Each = Callable[[AttentionMatrix], Any]


@contextmanager
def observe(
    model: nn.Module,
    where: str | Sequence[str] | None = None,
    heads: Sequence[int] | None = None,
    keep: torch.dtype | None = None,
    spill: str | os.PathLike[str] | None = None,
    each: Each | None = None,
) -> Iterator[Capture]:
    """Records query, key and all else that makes the weights of every attention call of a model.

    The model runs as it would otherwise, with the same backends and the same bits in its outputs:
    what it calls is seen from outside, and nothing of size Lq x Lk is built for it. A compiled
    model runs uncompiled meanwhile.

    What is recorded is the model's no more: it may be trained on, and the matrices stay. A stage
    that is a callable stays the callable that it is, with copies of the tensors that it uses; where
    these cannot be found, the call is listed in `capture.missed`.

    Args:
        model: any module: of Hugging Face transformers, with `nn.MultiheadAttention`, with
            `F.scaled_dot_product_attention`, with layers of qkv.
        where: which modules: a pattern such as `"decoder.layers.9"` or `"encoder.*.self_attn"`, or
            some of them. It matches whole parts of a module's path, with all modules below; `""` is
            the model itself. A module that is in several places has several paths, and all its
            calls are recorded where one of them matches. They are listed by the first that does,
            or without `where` by the first of all.
        heads: which query heads are recorded; None: all.
        keep: a smaller dtype in which query and key are kept, such as torch.bfloat16, and the
            scores of a model that has built them.
        spill: a folder on the disk in which query, key and all else that is large are kept instead
            of the memory. The files have no names: they belong to the capture and go with it, also
            when the process is killed.
        each: a function that is called with the `AttentionMatrix` of each call as it is made, and
            then nothing is kept but what it returns, in `capture.answers`. The matrix holds tensors
            of the model, which may write into them later. What the function raises comes out of the
            model's call.

    Returns:
        A context whose value is the `Capture`; it is filled while the context is open.

    Raises:
        TypeError: the model is no module; an argument of another type.
        ValueError: `where` has no pattern, or one that matches no module of the model; no head, or
            one below 0.
        OSError: `spill` is no folder that can be written in.

    Example:
        ```python
        with qkv.observe(model) as capture:
            model(tokens)
        print(capture)
        capture.calls[0].matrix[0, 3].entropy()
        ```
    """
    observer = _Observer(model, where, heads, keep, spill, each)
    with ExitStack() as stack:
        stack.callback(patches.remove, observer)
        patches.add(observer, [*sources.patches(), *patches_of(model)])
        try:
            yield observer.capture
        finally:
            observer.finish()


class _Observer:
    """Who is told of calls, and keeps those of one model."""

    def __init__(
        self,
        model: nn.Module,
        where: str | Sequence[str] | None,
        heads: Sequence[int] | None,
        keep: torch.dtype | None,
        spill: str | os.PathLike[str] | None,
        each: Each | None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"observe: model must be a torch.nn.Module; got {type(model).__name__}")
        if each is not None and not callable(each):
            raise TypeError(f"observe: each must be callable; got {type(each).__name__}")
        self.model = model
        self.paths: dict[int, str] = {}
        self._modules: list[nn.Module] = []
        self.where = _pattern(where, model)
        self._name_modules()
        # Modules that are called by the model's and are not in it; whether they are another's.
        self._outside: dict[int, tuple[nn.Module, bool]] = {}
        self.heads = _heads(heads)
        self.each = each
        self.capture = Capture()
        self._keeper = Keeper(keep, None if spill is None else Spill(spill))
        self._made: Counter[str] = Counter()  # calls of each module
        # Of each module and kind the last calls that may go on.
        self._open: defaultdict[tuple[str, str], deque[tuple[Call, Joined]]] = defaultdict(
            lambda: deque(maxlen=_OPEN)
        )
        self._compiled = compiled()
        self._ran: set[int] = set()  # modules of attention
        self._told: set[str] = set()  # paths of modules of which a call was seen
        self._lock = threading.RLock()

    def runs(self, module: nn.Module) -> None:
        """Notes that a module of attention runs."""
        path = self.paths.get(id(module))
        if path is not None and self._is_chosen(path):
            self._ran.add(id(module))

    def _is_chosen(self, path: str) -> bool:
        return self.where is None or self.where.fullmatch(path) is not None

    def finish(self) -> None:
        """Lists what ran and was not seen, or may have."""
        for module, function in scripted(self.model):
            path = self.paths.get(id(module), "")
            if self._is_chosen(path):
                self.capture.miss(path, function, "its module is TorchScript, which is not seen")
        if compiled() > self._compiled:
            reason = "it compiled while this observed, and calls of what it made may be unseen"
            self.capture.miss("", "torch.compile", reason)
        for path in silent(self.paths, self._ran, self._told):
            self.capture.miss(path, "forward", _UNSEEN)

    def follows(self, before: Any, after: Any, rows: Tensor | None) -> None:
        """What was recorded with a cache goes on as the cache does."""
        with self._lock, torch.inference_mode(False), torch.no_grad():
            for calls in self._open.values():
                for _, joined in calls:
                    joined.follow(before, after, rows)

    def shortens(self, cache: Any, count: int) -> None:
        """What was recorded with a cache is as much shorter as the cache."""
        with self._lock, torch.inference_mode(False), torch.no_grad():
            for calls in self._open.values():
                for _, joined in calls:
                    joined.shorten(cache, count)

    def see(self, sighting: Sighting, frame: FrameType) -> None:
        """Records a call if it is one of this model's, chosen, and no repetition."""
        if torch._C._current_graph_task_id() != -1:
            return  # a backward pass repeats what checkpoints have not kept
        made_by = self._caller(frame, sighting.module)
        if made_by is None or not self._is_chosen(made_by.path):
            return
        if made_by.within is not None and self._outside[id(made_by.within)][1]:
            reason = f"{type(made_by.within).__name__} makes it, which is no part of the model"
            if not sighting.materialised:  # a softmax may be none of attention
                with self._lock:
                    self.capture.miss(made_by.path, sighting.function, reason)
            return
        try:
            with torch.no_grad():
                arrival, matrix = self._matrix(sighting, made_by)
                if made_by.kind(matrix.query, matrix.key) == "self":
                    matrix = placed(matrix, made_by.keys_behind)
                if self.each is None:
                    with _apart_from_chance(matrix):
                        self._keep(sighting, made_by, arrival, matrix)
        except UnrelatedError:
            return
        except Exception as error:
            reason = str(error) if isinstance(error, UnseenError) else _described(error)
            self._told.add(made_by.path)
            with self._lock:
                self.capture.miss(made_by.path, sighting.function, reason)
            return
        self._told.add(made_by.path)
        if self.each is not None:
            self.capture.answer(made_by.path, self.each(matrix))

    def _caller(self, frame: FrameType, told: nn.Module | None) -> Caller | None:
        """Who makes a call; the model may have been edited since it was looked at."""
        found = caller(frame, self.paths, told)
        if found is None or found.within is None or id(found.within) in self._outside:
            return found
        self._name_modules()
        found = caller(frame, self.paths, told)
        if found is not None and found.within is not None:
            self._outside[id(found.within)] = found.within, found.is_for_another
        return found

    def _name_modules(self) -> None:
        """The paths by which modules are listed, which are kept alive: others would get their
        ids."""
        named = dict(self.model.named_modules())
        self._modules += named.values()
        paths = {id(module): _path(name) for name, module in named.items()}
        if self.where is not None:
            chosen = [(path, one) for path, one in _paths_of(self.model) if self._is_chosen(path)]
            paths |= {id(module): path for path, module in reversed(chosen)}
        self.paths.update(paths)

    def _matrix(
        self, sighting: Sighting, made_by: Caller
    ) -> tuple[Arrival | AttentionMatrix, AttentionMatrix]:
        if is_traced():
            raise UnseenError("a program is being traced")
        arrival = sighting.meant(made_by)
        if isinstance(arrival, AttentionMatrix):
            if self.heads is None or arrival.ndim < 3:
                return arrival, arrival
            return arrival, of_heads(arrival, self.heads)
        if is_hollow(arrival.query):
            raise UnseenError("its tensors have no numbers")
        if self.heads is not None:
            arrival = arrival.of_heads(self.heads)
        return arrival, matrix_of(arrival)

    def _keep(
        self,
        sighting: Sighting,
        made_by: Caller,
        arrival: Arrival | AttentionMatrix,
        matrix: AttentionMatrix,
    ) -> None:
        path, kind = made_by.path, made_by.kind(matrix.query, matrix.key)
        cache = cache_of(made_by.arguments)
        with self._lock:
            step = self._made[path]
            self._made[path] += 1
            known = self._continued(self._open[path, kind], matrix, cache)
            if known is not None:
                if known.steps & (known.steps - 1) == 0:  # some of many, each by itself
                    found = sighting.residual(arrival, matrix, self.heads)
                    known.residual = _larger(known.residual, found)
                return
            kept = self._keeper.kept(matrix, sighting.materialised)
            # The residual tells as well what that costs, or what was not seen of a callable.
            if kept.dtype is not matrix.dtype or has_callables(matrix):
                matrix = kept.to(matrix.device, matrix.dtype)
            residual = sighting.residual(arrival, matrix, self.heads)
            told = kind == "self" or cache is None or patches.is_followed(cache)
            goes_on = joinable(kept) and (told or apart(kept.key))
            found = Joined(kept, kind == "cross", cache, self._keeper.room) if goes_on else kept
            how = sighting.function, sighting.materialised
            call = Call(path, kind, step, found, residual, *how)
            self.capture.calls.append(call)
            if isinstance(found, Joined):
                self._open[path, kind].append((call, found))

    def _continued(
        self, open_calls: deque[tuple[Call, Joined]], matrix: AttentionMatrix, cache: Any
    ) -> Call | None:
        """The call that this one goes on with."""
        with torch.inference_mode(False):
            bounds = bounds_for_all(matrix) if open_calls else None
            if bounds is None:
                return None
            for back in (False, True):
                for call, joined in open_calls:
                    if joined.add(matrix, bounds, cache, back):
                        return call
        return None


def _apart_from_chance(matrix: AttentionMatrix) -> AbstractContextManager[Any]:
    """Callables may draw random numbers when they are looked through; the model gets its own."""
    devices = [matrix.device] if matrix.device.type == "cuda" else []
    return torch.random.fork_rng(devices, enabled=has_callables(matrix))


def _larger(one: float | None, other: float | None) -> float | None:
    """The larger residual of two: None where one is not known, NaN where one is."""
    if one is None or other is None:
        return None
    return one if one > other or isnan(one) else other


def _path(name: str) -> str:
    """A module's path without what compiling puts into it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _paths_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The paths of all modules; some of them where modules hold each other in ever more ways, with
    the first of each."""
    first = [(_path(name), module) for name, module in model.named_modules()]
    return [*islice(_every_path(model), _PATHS), *first]


def _every_path(
    module: nn.Module, path: str = "", above: frozenset[int] = frozenset()
) -> Iterator[tuple[str, nn.Module]]:
    """All paths of all modules, in the order of `named_modules`, which tells the first of each. No
    path goes through a module twice."""
    yield _path(path), module
    above |= {id(module)}
    for name, child in module._modules.items():
        if child is not None and id(child) not in above:
            yield from _every_path(child, f"{path}.{name}" if path else name, above)


def _pattern(where: str | Sequence[str] | None, model: nn.Module) -> re.Pattern[str] | None:
    if where is None:
        return None
    patterns = [where] if isinstance(where, str) or not isinstance(where, Sequence) else where
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(f"observe: where must be a pattern or a list of them; got {where!r}")
    if not patterns:
        raise ValueError("observe: where must name modules; got no pattern")
    paths = {path for path, _ in _paths_of(model)}
    every = []
    for pattern in patterns:
        part = re.sub(r"\\[Zz]$", "", fnmatch.translate(pattern))  # the end, by either name
        text = rf"(.*\.)?{part}(\..*)?" if pattern else ".*"  # the model itself has no path
        if not any(re.fullmatch(text, path) for path in paths):
            raise ValueError(f"observe: where={pattern!r} matches no module of the model")
        every.append(text)
    return re.compile("|".join(every))


def _heads(heads: Sequence[int] | None) -> list[int] | None:
    if heads is None:
        return None
    if isinstance(heads, str) or not isinstance(heads, Iterable):
        raise TypeError(f"observe: heads must be a list of numbers of heads; got {heads!r}")
    given = list(heads)
    numbers = [number for number in map(integer, given) if number is not None]
    if len(numbers) < len(given):
        raise TypeError(f"observe: heads must be integers; got {given}")
    if not numbers or min(numbers) < 0:
        raise ValueError(f"observe: heads must be numbers of heads from 0; got {numbers}")
    return numbers


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
