"""A page in one file, which holds its answers: as many as it may, the coarse ones first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .answers import Answers
from .held import Held, Rank, question
from .levels import Levels, first
from .overview import HOW
from .page_files import whole_page
from .state import State, fitting
from .subject import At, Subject
from .tiles import Place

MOST_BYTES = 30_000_000
# What is held goes by rank: what a page needs to begin, what is in view first, then all heads from
# coarse to fine, and at last the finer maps of the heads in view.
_BEGINNING, _IN_VIEW, _HEADS, _FINER = range(4)
_OF_HEAD = {"source", "layer", "head", "entry"}

Values = Mapping[str, int | str]
Steps = Callable[[Iterable[Any], int], Iterable[Any]]


class TooLargeError(ValueError):
    """The least of a page takes more than it may."""


@dataclass(frozen=True)
class Exported:
    """A page in one file. `finest` is how many cells a side the finest maps have that it holds of
    all heads; None where it holds all their weights."""

    page: str
    finest: int | None


def exported(
    answers: Answers,
    at: str = "",
    most_bytes: int = MOST_BYTES,
    steps: Steps = lambda heads, _: heads,
) -> Exported:
    """The page with its answers.

    Args:
        answers: who answers its questions.
        at: the state in which it opens: what stands behind the `#` of an address.
        most_bytes: what the answers may take.
        steps: goes through the heads, to show the progress.

    Raises:
        ValueError: there is no such state.
        TooLargeError: the least that a page needs takes more bytes.
    """
    state, held = State.read(at, answers.subject), Held(most_bytes)
    heads = sorted(_heads(answers.subject), key=lambda head: _far(head, state))
    for name, values in _common(answers, heads):
        held.add((_BEGINNING,), [question(name, values)], _answer(answers, name, values))
    if held.dropped:
        raise TooLargeError(f"look: the least of this page needs more than {most_bytes:,} bytes")
    for number, head in steps(enumerate(heads), len(heads)):
        if held.wants((_HEADS, 0, number)):
            _Head(answers, held, state, head, number).add()
    for number, head in enumerate(state.heads):
        _Head(answers, held, state, head, number).add_finer()
    page = whole_page(held.written(), at=f"#{at.rpartition('#')[2]}")
    return Exported(page, _finest(held.questions, answers.subject, heads))


class _Head:
    """One head, which is the `number`th to be looked at."""

    def __init__(self, answers: Answers, held: Held, state: State, head: At, number: int) -> None:
        self.answers, self.held, self.head, self.number = answers, held, head, number
        self.levels = _levels(answers.subject, head)
        self.cells = state.cells(self.levels)
        self.level = fitting(self.cells, self.levels) if head in state.heads else None

    def add(self) -> None:
        """Holds what is kept of its maps, what is in view, and all else that is asked of a head."""
        self.answers.overviews.exact(self.head)
        for name, names in self.answers.questions.items():
            if _asked_of(names) == _OF_HEAD:
                waiting = [{"now": "exact"}] if "now" in names else []
                self._hold((_HEADS, 0, self.number), name, {}, *waiting)
        if self.level is not None:
            seen = (place for place in _places(self.levels, self.level) if self._is_seen(place))
            self._hold_level(_IN_VIEW, self.level, seen)
        for level in range(len(self.levels.shapes) - 1, self.levels.kept - 1, -1):
            self._hold_level(_HEADS, level, _places(self.levels, level))

    def add_finer(self) -> None:
        """Holds what is not kept of its maps, around the middle of the view."""
        for level in range(self.levels.kept - 1, -1, -1):
            places = sorted(_places(self.levels, level), key=self._from_middle)
            self._hold_level(_FINER, level, places)

    def _hold_level(self, stage: int, level: int, places: Iterable[Place]) -> None:
        rank = stage, max(self.levels.shapes[level]), self.number
        for place in places:
            # A cell of level 0 is one weight, whichever way it is pooled.
            for ways in [HOW] if level == 0 else [(how,) for how in HOW]:
                if self.held.wants(rank):
                    values = {**asdict(self.head), **asdict(place)}
                    self._hold(rank, "tile", *({**values, "how": how} for how in ways))

    def _hold(self, rank: Rank, name: str, *asked: Values) -> None:
        questions = [question(name, {**asdict(self.head), **values}) for values in asked]
        if questions[0] not in self.held.questions:
            answer = _answer(self.answers, name, {**asdict(self.head), **asked[0]})
            self.held.add(rank, questions, answer)

    def _is_seen(self, place: Place) -> bool:
        sides = zip(_box(place, self.levels), self.cells, strict=True)
        return all(own.start < seen.stop and seen.start < own.stop for own, seen in sides)

    def _from_middle(self, place: Place) -> float:
        sides = zip(_box(place, self.levels), self.cells, strict=True)
        return max(abs(own.start + own.stop - seen.start - seen.stop) for own, seen in sides)


def _box(place: Place, levels: Levels) -> tuple[range, range]:
    """The queries and the keys of a tile."""
    shape, lengths = levels.shapes[place.level], (levels.queries, levels.keys)
    rows, columns = (
        range(first(cells.start, count, length), first(cells.stop, count, length))
        for cells, count, length in zip(place.cells(levels), shape, lengths, strict=True)
    )
    return rows, columns


def _places(levels: Levels, level: int) -> Iterator[Place]:
    rows, columns = levels.tiles(level)
    return (Place(level, row, column) for row in range(rows) for column in range(columns))


def _levels(subject: Subject, head: At) -> Levels:
    return Levels(*subject.matrix(head).shape)


def _heads(subject: Subject) -> Iterator[At]:
    for source, one in enumerate(subject.sources):
        for layer, told in enumerate(one.layers):
            for entry in range(told.matrix.shape[:-3].numel()):
                yield from (At(source, layer, head, entry) for head in range(told.heads))


def _far(head: At, state: State) -> tuple[bool, ...]:
    """Heads in view come first, then those of the same source and entry."""
    return (
        head not in state.heads,
        head.source != state.at.source,
        head.entry != state.at.entry,
    )


def _common(answers: Answers, heads: Iterable[At]) -> Iterator[tuple[str, Values]]:
    """All questions that are of no single head."""
    for name, names in answers.questions.items():
        own = _asked_of(names)
        if own < _OF_HEAD:
            every = ({key: asdict(head)[key] for key in names if key in own} for head in heads)
            for values in {question(name, one): one for one in every}.values():
                yield name, values


def _asked_of(names: Iterable[str]) -> set[str]:
    """What a question is of; whether it may wait makes no other answer here."""
    return {*names} - {"now"}


def _answer(answers: Answers, name: str, values: Values) -> bytes:
    return answers.answer(name, {key: str(value) for key, value in values.items()})


def _finest(questions: Collection[str], subject: Subject, heads: Iterable[At]) -> int | None:
    """How many cells a side the finest maps have that are there of all heads; None: all have
    their weights."""
    sides = []
    for head in heads:
        levels = _levels(subject, head)
        whole = len(levels.shapes)
        for level in range(len(levels.shapes) - 1, -1, -1):
            asked = ({**asdict(head), **asdict(p), "how": HOW[0]} for p in _places(levels, level))
            if not all(question("tile", values) in questions for values in asked):
                break
            whole = level
        if whole:
            sides.append(0 if whole == len(levels.shapes) else max(levels.shapes[whole]))
    return min(sides, default=None)
