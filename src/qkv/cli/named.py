"""Arguments that name some of what there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import typer


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str: ...


Thing = TypeVar("Thing", bound=Named)


def named(kind: str, things: Iterable[Thing], names: Sequence[str]) -> list[Thing]:
    """The things of these names, in their own order; all of them where no name is given.

    Raises typer.BadParameter for a name that none has; `kind` says there what they are.
    """
    known = {thing.name: thing for thing in things}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"no {kind} {unknown[0]!r}; these are: {', '.join(known)}")
    return [thing for name, thing in known.items() if not names or name in names]
