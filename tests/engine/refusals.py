"""What is meant to be refused, as `refusals.txt` says it, and whether that is what happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest

import qkv
from qkv import AttentionMatrix, UnsupportedError
from qkv.biases.tensor import TensorBias
from qkv.impl.choose import IMPLEMENTATIONS
from qkv.measures.base import Measure
from qkv.measures.product import Product

NAMED = tuple(implementation.NAME for implementation in IMPLEMENTATIONS)
AVAILABLE = tuple(name for name, reason in qkv.implementations().items() if reason is None)


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    implementation: str
    conditions: tuple[tuple[str, bool, tuple[str, ...]], ...]
    reason: str

    @staticmethod
    def of(text: str) -> Line:
        implementation, *words = text.split()
        stated = list(takewhile(lambda word: "=" in word, words))
        conditions = []
        for word in stated:
            fact, _, values = word.partition("=")
            conditions.append((fact.rstrip("!"), not fact.endswith("!"), tuple(values.split(","))))
        return Line(implementation, tuple(conditions), " ".join(words[len(stated) :]))

    def holds(self, facts: dict[str, str]) -> bool:
        return all((facts[fact] in values) is one for fact, one, values in self.conditions)


def _table() -> tuple[Line, ...]:
    lines = (Path(__file__).parent / "refusals.txt").read_text().splitlines()
    return tuple(Line.of(line) for line in lines if line and not line.startswith("#"))


TABLE = _table()


def facts(matrix: AttentionMatrix, measures: Sequence[Measure]) -> dict[str, str]:
    """What the table asks about a request."""
    names = [type(bias).__name__ for bias in matrix.bias]
    tracked = any(isinstance(b, TensorBias) and b.values.requires_grad for b in matrix.bias)
    product = len(measures) == 1 and isinstance(measures[0], Product)
    return {
        "asked": "product" if product else "sweep",
        "score": type(matrix.score).__name__,
        "normalizer": type(matrix.normalizer).__name__,
        "mask": "-" if matrix.mask is None else type(matrix.mask).__name__,
        "bias": "+".join(names) or "-",
        "dtype": str(matrix.dtype).removeprefix("torch."),
        "offset": "0" if isinstance(matrix.offset, int) and matrix.offset == 0 else "other",
        "cells": "some" if matrix.shape.numel() else "0",
        "dropout": "-" if matrix.dropped is None else "yes",
        "gradient": "bias" if tracked else "-",
    }


def lines_for(matrix: AttentionMatrix, measures: Sequence[Measure], impl: str) -> list[Line]:
    """The lines by which an implementation is meant to refuse a request."""
    known = facts(matrix, measures)
    return [line for line in TABLE if line.implementation == impl and line.holds(known)]


def meant(matrix: AttentionMatrix, measures: Sequence[Measure], impl: str) -> list[str]:
    """Why an implementation may say that it refuses a request; nothing where it must serve it."""
    reasons = [line.reason for line in lines_for(matrix, measures, impl)]
    absent = qkv.implementations().get(impl)
    return [*reasons, absent] if absent is not None else reasons


def refusal_is_meant(error: UnsupportedError, reasons: Sequence[str], impl: str) -> bool:
    """Whether an error says what a refusal has to say, for one of these reasons."""
    text = str(error)
    begun = text.startswith(f'attention: impl="{impl}" cannot serve this request: ')
    return begun and text.endswith("tiled, reference") and any(r in text for r in reasons)


@contextmanager
def served_or_refused(
    matrix: AttentionMatrix, measures: Sequence[Measure], impl: str | None = None
) -> Iterator[None]:
    """A request is made inside: it must be served, unless the table says that it is refused; then
    it must be refused for that reason."""
    impl = impl or matrix.impl
    reasons = meant(matrix, measures, impl)
    try:
        yield
    except UnsupportedError as error:
        if not refusal_is_meant(error, reasons, impl):
            raise
    else:
        if reasons:
            pytest.fail(f'impl="{impl}" served what it is meant to refuse: {reasons[0]}')
