"""Which implementation serves a request, and why."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from ..ground.errors import UnsupportedError
from ..ground.tensors import is_traced, is_tracked
from ..measures.base import Measure
from ..measures.product import Product
from ..native import instruction_set, quicker
from ..request.description import Description
from . import native, reference, sdpa, tiled
from .accepted import Accepted
from .plain import is_plain

# In the order in which "auto" asks them; the reference runs only when it is named.
IMPLEMENTATIONS = (native, sdpa, tiled, reference)
NAMES = ("auto", *(implementation.NAME for implementation in IMPLEMENTATIONS))
_FAST = (native, sdpa)  # what "auto" asks before `tiled`, which serves everything
_TORCH_FIRST = (sdpa, native)


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
    quicker_by_torch = _quicker_by_torch(description, measures)
    reasons = [quicker_by_torch] if quicker_by_torch else []
    for implementation in _TORCH_FIRST if quicker_by_torch else _FAST:
        answer = implementation.accept(description, measures)
        if not isinstance(answer, str):
            why = "; ".join(reasons) or "the fastest that serves the request"
            return Choice(implementation.NAME, answer, why)
        reasons.append(f"not {implementation.NAME}: {answer}")
    return Choice(tiled.NAME, tiled.accept(description, measures), "; ".join(reasons))


def _quicker_by_torch(description: Description, measures: tuple[Measure, ...]) -> str | None:
    """Why torch is asked first: it was measured to be quicker; None where it was not."""
    if not quicker.LOST or is_traced() or native.unavailable_reason() is not None:
        return None
    if instruction_set() not in quicker.LOST or not is_plain(description, measures):
        return None
    (product,) = measures
    assert isinstance(product, Product)
    query, key = description.query, description.key
    return quicker.torch_is(
        str(query.dtype).removeprefix("torch."),
        is_tracked(query, key, product.value),
        description.mask is not None,
        query.shape[-1],
        queries=query.shape[-2],
        keys=key.shape[-2],
    )


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
