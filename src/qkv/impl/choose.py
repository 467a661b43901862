"""Which implementation serves a request, and why."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from ..ground.errors import UnsupportedError
from ..measures.base import Measure
from ..measures.product import Product
from ..request.description import Description
from . import native, reference, sdpa, tiled
from .accepted import Accepted

# In the order in which "auto" asks them; the reference runs only when it is named.
IMPLEMENTATIONS = (native, sdpa, tiled, reference)
NAMES = ("auto", *(implementation.NAME for implementation in IMPLEMENTATIONS))
_FAST = (native, sdpa)  # what "auto" asks before `tiled`, which serves everything


class Choice(NamedTuple):
    """Who serves a request, the request as it was prepared there, and why this one."""

    name: str
    accepted: Accepted
    reason: str


def choose(description: Description, measures: tuple[Measure, ...]) -> Choice:
    """The implementation for a request.

    Raises:
        UnsupportedError: a named implementation cannot honour the request.
    """
    if description.impl != "auto":
        return _named(description, measures)
    reasons: list[str] = []
    for implementation in _FAST:
        answer = implementation.accept(description, measures)
        if not isinstance(answer, str):
            why = "; ".join(reasons) or "the fastest that serves the request"
            return Choice(implementation.NAME, answer, why)
        reasons.append(f"not {implementation.NAME}: {answer}")
    return Choice(tiled.NAME, tiled.accept(description, measures), "; ".join(reasons))


def _named(description: Description, measures: tuple[Measure, ...]) -> Choice:
    name = description.impl
    implementation = next(i for i in IMPLEMENTATIONS if name == i.NAME)
    answer = implementation.accept(description, measures)
    if not isinstance(answer, str):
        return Choice(name, answer, "named")
    others = [
        other.NAME
        for other in IMPLEMENTATIONS
        if not isinstance(other.accept(description, measures), str)
    ]
    raise UnsupportedError(
        f'attention: impl="{name}" cannot serve this request: {answer}; '
        f"these can: {', '.join(others)}"
    )


def run(description: Description, measures: tuple[Measure, ...]) -> list[Any]:
    """The results of the measures, as the user sees them."""
    return finish(choose(description, measures), description, measures)


def gradients_of_part(
    description: Description, value: Tensor, output: Tensor, logsumexp: Tensor, gradient: Tensor
) -> list[tuple[Tensor, Tensor]] | None:
    """See `Accepted.gradients_of_part`: by the kernels where they serve."""
    if description.impl not in ("auto", native.NAME):
        return None
    accepted = native.accept(description, (Product(value),))
    if isinstance(accepted, str):
        return None
    return accepted.gradients_of_part(output, logsumexp, gradient)


def finish(choice: Choice, description: Description, measures: tuple[Measure, ...]) -> list[Any]:
    """Runs what was chosen; where its results turn out not to be finite, what copes with that."""
    results = choice.accepted.run()
    if results is None:
        return tiled.accept(description, measures).run()
    return results


def implementations() -> dict[str, str | None]:
    """The engine's implementations: None for one that is there, else why it is not."""
    reasons = {implementation.NAME: None for implementation in IMPLEMENTATIONS}
    return reasons | {native.NAME: native.unavailable_reason()}
