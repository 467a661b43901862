"""What is fuzzed: cases, and what must hold for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from hypothesis.strategies import SearchStrategy


class Target(ABC):
    """Something that takes whatever it is given: it answers rightly, or refuses with a reason.

    Args:
        folder: where files may be written; each target has one of its own.
    """

    name: ClassVar[str]
    about: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def cases(self) -> SearchStrategy[Any]:
        """What is tried. The `repr` of a case says all about it."""

    @abstractmethod
    def check(self, case: Any) -> str:
        """Tries a case: empty if it was accepted and the answer is right, else the text of the
        refusal. Whatever is raised is a fault."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Ends what was started."""
