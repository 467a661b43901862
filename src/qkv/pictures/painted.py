"""Weights laid over what they belong to, in the terminal: words of a text, places of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from qkv.pictures.labelled import LabelledWeights
from qkv.pictures.terminal import legend, painted, shade, shades_of


class TerminalWords:
    """Words as a text that is coloured by their weights: `rich.print(TerminalWords(...))`.

    The word with the largest weight has the strongest colour. In a terminal without colour a shade
    stands before each word, and nothing before a word with hardly any weight.

    Raises:
        ValueError: weights and words do not fit, or a weight is negative or not finite.
    """

    def __init__(self, weights: Any, words: Sequence[str]) -> None:
        labelled = LabelledWeights.check("TerminalWords", [list(weights)], [""], words)
        self._strongest = labelled.strongest(None)
        self._shares = labelled.share(self._strongest)[0].tolist()
        self._words = labelled.columns

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shades = shades_of(console, options)
        text = Text()
        for word, share in zip(self._words, self._shares, strict=True):
            if shades is None:
                text.append(word, style=painted(share))
            else:
                mark = shade(share, shades, 1)
                text.append(word if mark == shades[0] else mark + word)
            text.append(" ")
        text.rstrip()
        yield text
        yield Text()
        yield legend(shades, self._strongest)


class TerminalGrid:
    """Weights `[rows, columns]` of the places of a picture as a map: `rich.print(...)`.

    A place is two cells wide, which makes it about square.

    Raises:
        ValueError: a weight is negative or not finite.
    """

    def __init__(self, weights: Any) -> None:
        rows, columns = ([""] * len(side) for side in (weights, weights[0]))
        labelled = LabelledWeights.check("TerminalGrid", weights, rows, columns)
        self._strongest = labelled.strongest(None)
        self._shares = labelled.share(self._strongest).tolist()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shades = shades_of(console, options)
        for row in self._shares:
            line = Text(no_wrap=True, overflow="crop")
            for share in row:
                if shades is None:
                    line.append("  ", style=painted(share))
                else:
                    line.append(shade(share, shades, 1) * 2)
            yield line
        yield Text()
        yield legend(shades, self._strongest)
