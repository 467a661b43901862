"""What was recorded while a model ran."""

from __future__ import annotations

from html import escape
from typing import Any

from .call import Call, Missed, table


class _Table(list):
    """A list that prints as a table."""

    head: tuple[str, ...] = ()

    def rows(self) -> list[tuple[Any, ...]]:
        """What stands in the table."""
        raise NotImplementedError

    def __str__(self) -> str:
        return table(self.head, self.rows())

    def _repr_html_(self) -> str:
        def line(cells: tuple[Any, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(str(c))}</{tag}>" for c in cells) + "</tr>"

        return (
            f"<table>{line(self.head, 'th')}{''.join(line(r, 'td') for r in self.rows())}</table>"
        )


class Calls(_Table):
    """Attention calls in the order in which they were made."""

    head = ("", "module", "kind", "step", "heads", "queries", "keys", "residual", "function")

    def rows(self) -> list[tuple[Any, ...]]:
        return [(place, *_cells(call)) for place, call in enumerate(self)]


class MissedCalls(_Table):
    """Calls that could not be recorded."""

    head = ("module", "function", "calls", "reason")

    def rows(self) -> list[tuple[Any, ...]]:
        return [(m.module, m.function, m.count, m.reason) for m in self]


class Capture:
    """The attention calls of a model, as `qkv.observe` recorded them.

    Attributes:
        calls: a list of `Call`, which prints as a table.
        missed: a list of what could not be recorded, with the reason of each.
    """

    def __init__(self) -> None:
        self.calls: Calls = Calls()
        self.missed: MissedCalls = MissedCalls()

    def miss(self, module: str, function: str, reason: str) -> None:
        """Lists a call that could not be recorded."""
        for known in self.missed:
            if (known.module, known.function, known.reason) == (module, function, reason):
                known.count += 1
                return
        self.missed.append(Missed(module, function, reason))

    def __str__(self) -> str:
        text = str(self.calls) if self.calls else "no attention call was recorded"
        return f"{text}\n\nmissed:\n{self.missed}" if self.missed else text

    def _repr_html_(self) -> str:
        missed = f"<p>missed:</p>{self.missed._repr_html_()}" if self.missed else ""
        return self.calls._repr_html_() + missed


def _cells(call: Call) -> tuple[Any, ...]:
    *lead, queries, keys = call.matrix.shape
    step = str(call.step) if call.steps == 1 else f"{call.step}–{call.step + call.steps - 1}"
    residual = "–" if call.residual is None else f"{call.residual:.1e}"
    function = call.function + (", materialised" if call.materialised else "")
    heads = lead[-1] if lead else 1
    return call.module, call.kind, step, heads, queries, keys, residual, function
