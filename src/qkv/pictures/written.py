"""A text whose words are coloured by their weights, as a matplotlib figure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from qkv.pictures.colours import PAPER_RAMP, ink_on, ramp_colour
from qkv.pictures.fonts import choose_fonts, width_of
from qkv.pictures.labelled import LabelledWeights, shortened
from qkv.pictures.style import LABEL_SIZE, SMALL_SIZE, new_figure

# Lengths are in inches.
_WIDEST = 9.0
_LINE = 0.3
_EDGE = 0.15
_GAP = 0.1
_PAD = 2.5  # points of ground around a word
_STEPS, _STEP = 20, 0.06  # of the bar that says what colours mean
_WORD_CHARACTERS = 60  # a longer word is cut


def coloured_text(
    weights: Any, words: Sequence[str], *, title: str = "", max_words: int = 800
) -> Figure:
    """Draws words as a text, each on the colour of its weight; the largest weight has the darkest,
    and a bar below says how large it is. The figure is as wide as the text, up to 9 inches.

    At most the first `max_words` are drawn, and the figure says so.

    Raises:
        ValueError: weights and words do not fit, or a weight is negative or not finite.

    Warns if no installed font has some character, which is then drawn as its code point.
    """
    labelled = LabelledWeights.check("coloured_text", [list(weights)], [""], words)
    strongest = labelled.strongest(None)
    labelled, note = labelled.cut(1, max_words, nouns=("texts", "words"))
    fonts = choose_fonts("".join([*labelled.columns, title, "…"]))
    if fonts.missing:
        warnings.warn(fonts.complaint(), stacklevel=2)
    figure, style = new_figure(), fonts.style(LABEL_SIZE)
    drawn = [fonts.drawable(shortened(word, _WORD_CHARACTERS)) for word in labelled.columns]
    widths = [width_of(figure, word, style) for word in drawn]
    places = _flowed(widths)
    title = fonts.drawable(title)
    said = f"0 to {100 * strongest:.3g}%"
    after_bar = _EDGE + _STEP * _STEPS + 2 * _GAP
    ends = [left + width for (left, _), width in zip(places, widths, strict=True)]
    ends += [_EDGE + width_of(figure, text, style) for text in (title, note or "")]
    ends.append(after_bar + width_of(figure, said, fonts.style(SMALL_SIZE)))
    width = max(ends) + _EDGE
    first = int(bool(title))
    last = first + places[-1][1] + 1
    height = 2 * _EDGE + (last + 1 + bool(note)) * _LINE
    figure.set_size_inches(width, height)

    def write(text: str, left: float, line: float, **look: Any) -> None:
        below = height - _EDGE - (line + 0.5) * _LINE
        figure.text(left / width, below / height, text, va="center", **{**style, **look})

    write(title, _EDGE, 0)
    for word, (left, line), share in zip(
        drawn, places, labelled.share(strongest)[0].tolist(), strict=True
    ):
        write(word, left, line + first, **_on(share))
    for step in range(_STEPS + 1):
        write(" ", _EDGE + _STEP * step, last, **_on(step / _STEPS), fontsize=SMALL_SIZE)
    write(said, after_bar, last, fontsize=SMALL_SIZE)
    write(note or "", _EDGE, last + 1, fontsize=SMALL_SIZE)
    return figure


def _flowed(widths: list[float]) -> list[tuple[float, int]]:
    """Where each word stands: how far from the left, and on which line."""
    places, left, line = [], _EDGE, 0
    for width in widths:
        if left > _EDGE and left + width > _WIDEST - _EDGE:
            left, line = _EDGE, line + 1
        places.append((left, line))
        left += width + _GAP
    return places


def _on(share: float) -> dict[str, Any]:
    """The ground of a share, and an ink that can be read on it."""
    ground = ramp_colour(share, PAPER_RAMP)
    face, ink = ([part / 255 for part in colour] for colour in (ground, ink_on(ground)))
    return {"color": ink, "bbox": {"facecolor": face, "edgecolor": "none", "pad": _PAD}}
