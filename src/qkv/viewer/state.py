"""What stands behind the `#` of the page's address: what is shown."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from .levels import Levels
from .overview import HOW
from .subject import At, Subject

COLOURS = ("log", "linear")
CANVAS = (600, 900)  # rows and columns of pixels of a map, where no page says how many it has
_LONGEST = 16  # a short side is drawn at most so many times as wide
_FARTHEST = 1e-9  # pixels a cell
_SQUARE = 4  # up to this ratio of the sides cells are square
_VIEWS = "map|text|alignment|image|heads"
_WHOLE = "[0-9]{1,9}"
_HEAD = rf"{_WHOLE}(\.{_WHOLE}){{3}}"
PAGE = {  # what is for the page alone, as `page/state.js` has it: what a value may be
    "show": rf"({_VIEWS})(\.({_VIEWS}))*",
    "query": _WHOLE,
    "key": _WHOLE,
    "share": _WHOLE,
    "sort": "-?[a-z]+",
    "theme": "auto|light|dark",
    "ratio": "no|beside|alone",
    "way": "out|in",
    "apart": "kept|left",
    "over": "one|all",
}
_OF_HEAD = ("source", "layer", "head", "entry")
NAMES = (*_OF_HEAD, "x", "y", "zoom", "how", "colour", "lock", "beside", *PAGE)


@dataclass(frozen=True)
class State:
    """A view of one head: `x` and `y` are the place in its middle in cells, `zoom` how many pixels
    wide a cell is; None: the whole map. `lock` is the head whose scale is taken, `beside` one that
    is shown beside it."""

    at: At
    x: float | None
    y: float | None
    zoom: float | None
    how: str
    colour: str
    lock: At | None
    beside: At | None

    @classmethod
    def read(cls, text: str, subject: Subject) -> State:
        """The state in an address, or in what stands behind its `#`.

        Raises:
            ValueError: a name is none, a value is none of its name, or what it names is not there.
        """
        given = dict(parse_qsl(text.rpartition("#")[2], keep_blank_values=True))
        try:
            _check_names(given)
            at = At(*(_whole(given, name) for name in _OF_HEAD))
            x, y, zoom = (_real(given, name) for name in ("x", "y", "zoom"))
            how, colour = _word(given, "how", HOW), _word(given, "colour", COLOURS)
            lock, beside = _head(given, "lock"), _head(given, "beside")
            for head in (at, lock, beside):
                if head is not None:
                    subject.matrix(head)  # is there
        except (ValueError, IndexError) as error:
            raise ValueError(f"look: {text!r} shows nothing: {error}") from None
        return cls(at, x, y, zoom, how, colour, lock, beside)

    @property
    def heads(self) -> list[At]:
        """The heads that are shown."""
        return [self.at] if self.beside is None else [self.at, self.beside]

    def cells(self, levels: Levels) -> tuple[range, range]:
        """The queries and the keys in view, as `page/view.js` has it."""
        high, wide = CANVAS
        ratio = levels.keys / levels.queries
        stretch = 1.0 if 1 / _SQUARE < ratio < _SQUARE else min(_LONGEST, max(1 / _LONGEST, ratio))
        zoom = self.zoom or min(wide / levels.keys, high / (levels.queries * stretch))
        zoom = max(zoom, _FARTHEST)
        return (
            _around(self.y, high / (zoom * stretch), levels.queries),
            _around(self.x, wide / zoom, levels.keys),
        )


def fitting(cells: tuple[range, range], levels: Levels) -> int:
    """The finest level of which these queries and keys have no more cells than there are pixels."""
    sides = [*zip(cells, (levels.queries, levels.keys), CANVAS, strict=True)]
    for level, shape in enumerate(levels.shapes):
        pairs = zip(shape, sides, strict=True)
        if all(len(own) * count / length <= most for count, (own, length, most) in pairs):
            return level
    return len(levels.shapes) - 1


def _around(middle: float | None, size: float, length: int) -> range:
    """So many places around the middle, or around that of the whole; one at least."""
    middle = length / 2 if middle is None else min(length, max(0.0, middle))
    start = min(length - 1, max(0, math.floor(middle - size / 2 + 1e-6)))
    return range(start, max(start + 1, min(length, math.ceil(middle + size / 2 - 1e-6))))


def _check_names(given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if name not in NAMES:
            raise ValueError(f"there is no {name!r}; there are {', '.join(NAMES)}")
        if name in PAGE and not re.fullmatch(PAGE[name], value, re.ASCII):
            raise ValueError(f"{name} cannot be {value!r}")


def _whole(given: Mapping[str, str], name: str) -> int:
    text = given.get(name, "0")
    if not re.fullmatch(_WHOLE, text, re.ASCII):
        raise ValueError(f"{name} must be a whole number; got {text!r}")
    return int(text)


def _real(given: Mapping[str, str], name: str) -> float | None:
    if name not in given:
        return None
    try:
        number = float(given[name])
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (name == "zoom" and number <= 0):
        raise ValueError(f"{name} must be a number; got {given[name]!r}")
    return number


def _word(given: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    word = given.get(name, words[0])
    if word not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}; got {word!r}")
    return word


def _head(given: Mapping[str, str], name: str) -> At | None:
    if name not in given:
        return None
    if not re.fullmatch(_HEAD, given[name], re.ASCII):
        raise ValueError(f"{name} must be source.layer.head.entry; got {given[name]!r}")
    return At(*map(int, given[name].split(".")))
