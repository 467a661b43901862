"""A text whose words are coloured by their weights, as a matplotlib figure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qkv.pictures.colours import PAPER_RAMP, ink_on, ramp_colour
from qkv.pictures.fonts import choose_fonts, width_of
from qkv.pictures.labelled import LabelledWeights

# Lengths are in inches, text sizes in points.
_WIDTH = 9.0
_LINE = 0.3
_EDGE = 0.15
_GAP = 0.1
_SIZE = 12
_SMALL_SIZE = 9
_PAD = 2.5  # points of ground around a word
_STEPS, _STEP = 20, 0.06  # of the bar that says what colours mean


def coloured_text(weights: Any, words: Sequence[str], *, title: str = "") -> Figure:
    """Draw words as a text, each on a ground of the colour of its weight, the strongest on the
    darkest; a bar below says what that is.

    Raises ValueError where weights and words do not fit, or weights are negative or not finite.
    Warns when no installed font has some character, which is then drawn as its code point.
    """
    labelled = LabelledWeights.check("coloured_text", [list(weights)], [""], words)
    strongest = labelled.strongest(None)
    fonts = choose_fonts("".join([*labelled.columns, title]))
    if fonts.missing:
        warnings.warn(fonts.complaint(), stacklevel=2)
    figure = Figure()
    FigureCanvasAgg(figure)
    style = fonts.style(_SIZE)
    drawn = [fonts.drawable(word) for word in labelled.columns]
    places = _flowed([width_of(figure, word, style) for word in drawn])
    lines = bool(title) + max((line for _, line in places), default=-1) + 1
    height = 2 * _EDGE + (lines + 1) * _LINE
    figure.set_size_inches(_WIDTH, height)

    def write(text: str, left: float, line: float, **look: Any) -> None:
        below = height - _EDGE - (line + 0.5) * _LINE
        figure.text(left / _WIDTH, below / height, text, va="center", **{**style, **look})

    if title:
        write(fonts.drawable(title), _EDGE, 0)
    for word, (left, line), share in zip(
        drawn, places, labelled.share(strongest)[0].tolist(), strict=True
    ):
        write(word, left, line + bool(title), **_on(share))
    for step in range(_STEPS + 1):
        write(" ", _EDGE + _STEP * step, lines, **_on(step / _STEPS), fontsize=_SMALL_SIZE)
    write(
        f"0 to {100 * strongest:.3g}%",
        _EDGE + _STEP * _STEPS + 2 * _GAP,
        lines,
        fontsize=_SMALL_SIZE,
    )
    return figure


def _flowed(widths: list[float]) -> list[tuple[float, int]]:
    """Where each word stands: how far from the left, and on which line."""
    places, left, line = [], _EDGE, 0
    for width in widths:
        if left > _EDGE and left + width > _WIDTH - _EDGE:
            left, line = _EDGE, line + 1
        places.append((left, line))
        left += width + _GAP
    return places


def _on(share: float) -> dict[str, Any]:
    """The ground of a share, and an ink that can be read on it."""
    ground = ramp_colour(share, PAPER_RAMP)
    face, ink = ([part / 255 for part in colour] for colour in (ground, ink_on(ground)))
    return {"color": ink, "bbox": {"facecolor": face, "edgecolor": "none", "pad": _PAD}}
