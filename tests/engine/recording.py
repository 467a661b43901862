"""Which implementation ran, whatever was planned."""

from __future__ import annotations

import pytest

from qkv.impl import traced
from qkv.impl.choose import IMPLEMENTATIONS


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows from now on by the name of each implementation that is run, and by that of
    the operator of traced programs."""
    ran: list[str] = []
    for implementation in (*IMPLEMENTATIONS, traced):

        def accept(*given, right=implementation.accept, name=implementation.NAME):
            accepted = right(*given)
            if isinstance(accepted, str):
                return accepted

            def run(run=accepted.run):
                ran.append(name)
                return run()

            accepted.run = run
            return accepted

        monkeypatch.setattr(implementation, "accept", accept)
    return ran
