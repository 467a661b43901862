"""A request without the tensors that it is computed from.

A node of autograd hands its tensors over to be saved, so that whoever saves them, a checkpoint or
hooks that keep them elsewhere, may let them go. Whatever else it holds lives as long as the graph,
so that has stand-ins in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..blocks.block_map import Output
from ..blocks.cells import Cells
from ..blocks.layout import QUERIES, Layout
from ..blocks.tiling import Axes
from ..ground.tensors import inside_transform, is_traced
from ..masks.causal import Causal
from ..request.description import Description
from ..request.parts import Parts, Places
from ..request.problem import Problem
from ..scores.dot import Dot
from ..stage.custom import Custom

T = TypeVar("T")

_PACKAGE = __name__.partition(".")[0]
_WITHOUT_TENSORS = frozenset(
    (type(None), bool, int, float, str, torch.dtype, Axes, Layout, Cells, Output, Dot, Causal)
)
_NOTHING = ()  # there is one empty tuple
_STAGES = ("score", "bias", "mask", "normalizer", "dropped")
_STAGES_OF_PROBLEM = ("score", "biases", "mask", "normalizer", "dropout", "offset")


def structure_of(thing: T, row: Sequence[Tensor]) -> T:
    """The same frozen dataclass, in which each tensor that shares memory with one of the row is
    replaced by a stand-in of its shape, dtype and device, and the row is empty. An object of ours
    that is no dataclass, as kernels are, has run: it is changed itself.

    Callables and what they capture stay, for they hold it themselves, and so do cells and objects
    that say of themselves that they are `bare`.
    """
    return _Structure(row).of(thing)


def structure_if_kept(thing: T, row: Sequence[Tensor]) -> T:
    """The same, but the thing itself where a program is traced or transformed: there nothing is let
    go before the end."""
    return thing if is_traced() or inside_transform() else structure_of(thing, row)


def stand_in_of(tensor: Tensor) -> Tensor:
    """One number in place of all those of a tensor."""
    return _stand_in(tensor.shape, tensor.dtype, tensor.device)


@lru_cache(maxsize=256)
def _stand_in(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Not finite where it can be: nobody takes it for one of theirs.
    number = torch.nan if dtype.is_floating_point else 0
    return torch.full((), number, dtype=dtype, device=device).expand(shape)


class _Structure:
    """Puts stand-ins in the places of the tensors of a row. Small calls wait for it."""

    __slots__ = ("known", "memory", "row")

    def __init__(self, row: Sequence[Tensor]) -> None:
        self.row = row
        self.known: dict[int, Any] = {id(row): ()}  # what became of what
        self.memory: set[int] | None = None  # of the row

    def of(self, thing: Any) -> Any:
        way = _way_through(type(thing))
        if way is None:
            return thing
        bare = self.known.get(id(thing))
        return way(self, thing) if bare is None else bare

    def of_tensor(self, tensor: Tensor) -> Tensor:
        if self.memory is None:
            self.memory = {_memory_of(own) for own in self.row}
        return stand_in_of(tensor) if _memory_of(tensor) in self.memory else tensor

    def of_sequence(self, things: Sequence[Any]) -> Sequence[Any]:
        if not things:
            return things
        bare = [thing if type(thing) in _WITHOUT_TENSORS else self.of(thing) for thing in things]
        for new, old in zip(bare, things, strict=True):
            if new is not old:
                return bare if type(things) is list else tuple(bare)
        return things

    def of_object(self, thing: Any) -> Any:
        attributes = thing.__dict__
        attributes.update(self.changed(attributes, attributes))
        return thing

    def of_fields(self, thing: Any) -> Any:
        attributes = thing.__dict__
        changed = self.changed(attributes, attributes)
        return _with(thing, attributes | changed) if changed else thing

    def of_description(self, description: Description) -> Description:
        """A derivative puts vectors in their places."""
        attributes, vectors = description.__dict__, stand_in_of(description.query)
        changed = self.changed(attributes, _STAGES)
        return _with(description, {**attributes, **changed, "query": vectors, "key": vectors})

    def of_problem(self, problem: Problem) -> Problem:
        """Its parts are asked for dtype and device of the query alone."""
        attributes, query = problem.__dict__, problem.query
        changed = self.changed(attributes, _STAGES_OF_PROBLEM)
        changed["parts"] = _query(query.shape, query.dtype, query.device)
        bare = self.known[id(problem)] = _with(problem, attributes | changed)
        return bare

    def changed(self, attributes: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Those of these attributes that are no longer the same."""
        changed = {}
        for name in names:
            own = attributes[name]
            if type(own) not in _WITHOUT_TENSORS and own is not _NOTHING:
                bare = self.of(own)
                if bare is not own:
                    changed[name] = bare
        return changed

    def of_parts(self, parts: Parts[Any]) -> Parts[Any]:
        """What is cut of each tensor; pieces have been read."""
        if type(parts.query) is tuple:
            return _NO_PIECES
        tensor = stand_in_of(parts.query[0][0])
        attributes = {name: _bare(own, tensor) for name, own in parts.__dict__.items()}
        return _with(parts, attributes)


def _with(thing: Any, attributes: dict[str, Any]) -> Any:
    """The same with other attributes. Checks of values do not hold for stand-ins, so it is not made
    by its constructor."""
    made = object.__new__(type(thing))
    object.__setattr__(made, "__dict__", attributes)
    return made


def _bare(own: Any, tensor: Tensor) -> Any:
    """What is cut of each tensor of one part, of places, or of several parts."""
    if type(own) is list:
        return [(tensor, axes) for _, axes in own] if own else own
    if type(own) is tuple:
        return tuple([_bare(entries, tensor) for entries in own]) if own else own
    return own.each(lambda entries: _bare(entries, tensor)) if any(own.in_order) else own


_NO_PIECES: Parts[Any] = Parts((), (), Places((), (), (), ()), (), (), (), ())


@lru_cache(maxsize=256)
def _query(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Parts[Any]:
    """The parts of a problem that has a query and nothing else."""
    return replace(_NO_PIECES, query=[(_stand_in(shape, dtype, device), QUERIES)])


@lru_cache(maxsize=256)
def _way_through(kind: type) -> Callable[[_Structure, Any], Any] | None:
    """What is done with objects of this type; None: they stay as they are."""
    if kind is tuple or kind is list:
        return _Structure.of_sequence
    for known, way in _WAYS.items():
        if issubclass(kind, known):
            return way
    if kind in _WITHOUT_TENSORS or issubclass(kind, Custom) or getattr(kind, "bare", False):
        return None
    if not kind.__dictoffset__:
        return None
    if is_dataclass(kind):
        return _Structure.of_fields
    return _Structure.of_object if kind.__module__.partition(".")[0] == _PACKAGE else None


_WAYS: dict[type, Callable[[_Structure, Any], Any]] = {
    Tensor: _Structure.of_tensor,
    Description: _Structure.of_description,
    Problem: _Structure.of_problem,
    Parts: _Structure.of_parts,
}


def _memory_of(tensor: Tensor) -> int:
    """What tells the memory of tensors apart."""
    try:
        return tensor.untyped_storage()._cdata
    except RuntimeError:  # it has none of its own
        return id(tensor)
