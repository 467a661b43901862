"""Settings that are declared once.

A dataclass declares a field by `option`, with its help and its bounds. The dataclass checks it
(`Options`), the command makes a flag of it, and the configuration of a run lists it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

MOST = 2**31  # below it an integer that has no other bound must be: libraries take no larger ones


@dataclass(frozen=True)
class Rule:
    """What an option means (`help`) and what its values must be."""

    help: str
    at_least: float | None = None
    above: float | None = None
    below: float = math.inf
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.below < math.inf:
            return f"in [{self.at_least:g}, {self.below})"
        if self.above is not None:
            return "positive" if self.above == 0 else f"> {self.above:g}"
        return "a number" if self.at_least is None else f">= {self.at_least:g}"

    def allows(self, value: Any) -> bool:
        """Whether a value is one of the choices or within the bounds; NaN and infinity never."""
        if self.choices:
            return value in self.choices
        low = -math.inf if self.at_least is None else self.at_least
        lowest = -math.inf if self.above is None else self.above
        return low <= value < self.below and value > lowest


def option(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    below: float = math.inf,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that is an option. A mutable default is given as the type that makes it.

    Args:
        default: its default.
        help: what it means, a sentence for the command's help.
        at_least, above, below: bounds of a number; `below` needs `at_least`.
        choices: the values that it may have; default: any within the bounds.
    """
    metadata = {"rule": Rule(help, at_least, above, below, choices)}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def required(*, at_least: float | None = None) -> Any:
    """A dataclass field that is checked but that no user chooses, such as the number of classes in
    the data."""
    return field(metadata={"rule": Rule("", at_least)})


class Options:
    """A base for frozen dataclasses that check their fields.

    Raises:
        ValueError: a field breaks its rule; the text names class, field and rule.
    """

    def __post_init__(self) -> None:
        for name, kind, rule in _rules(type(self)):
            value = getattr(self, name)
            problem = problem_with(value, kind, rule)
            if problem:
                raise ValueError(f"{type(self).__name__}: {name} must be {problem}; got {value!r}")


def options_of(cls: type) -> Iterator[tuple[str, Any, Rule]]:
    """Name, type and rule of each option of a dataclass; other fields are left out."""
    return (entry for entry in _rules(cls) if entry[2].help)


def smallest(cls: type) -> dict[str, Any]:
    """The lowest allowed values of those fields of a dataclass that no user chooses."""
    return {name: rule.at_least for name, _, rule in _rules(cls) if not rule.help}


def _rules(cls: type) -> Iterator[tuple[str, Any, Rule]]:
    kinds = get_type_hints(cls)
    for one in fields(cls):  # pyright: ignore[reportArgumentType]
        if "rule" in one.metadata:
            yield one.name, kinds[one.name], one.metadata["rule"]


def problem_with(value: Any, kind: Any, rule: Rule) -> str:
    """What a value must be and is not; empty if it is allowed."""
    if value is None and kind == (kind | None):
        return ""
    if kind in (bool, bool | None):
        return "" if type(value) is bool else "true or false"
    if kind in (int, int | None, float, float | None) or rule.choices:
        if kind in (int, int | None):
            if type(value) is int and rule.below == math.inf and value >= MOST:
                return f"an int below {MOST}"
            return "" if type(value) is int and rule.allows(value) else f"an int {rule}"
        if kind in (float, float | None) and type(value) not in (int, float):
            return f"a number, {rule}"
        return "" if rule.allows(value) else str(rule)
    return ""
