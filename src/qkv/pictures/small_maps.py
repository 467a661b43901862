"""Many small maps in a grid, such as those of all heads of a model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from matplotlib.figure import Figure

from qkv.pictures.fonts import FontChoice, choose_fonts, width_of
from qkv.pictures.labelled import LabelledWeights, shortened
from qkv.pictures.style import COLOURS, LABEL_SIZE, SMALL_SIZE, new_figure, place

Place = tuple[int, int]  # row and column of the grid

# Lengths are in inches, text sizes in points.
_SIDE = 0.95  # of a map
_GAP = 0.1
_LINE = 0.3
_CAPTION = 0.17
_CAPTION_SIZE = 6
_CAPTION_CHARACTERS = 24
_LABEL_CHARACTERS = 40
_PIXELS = 96  # along a map's side
_NOTE = "each map: dark up to its own largest weight, by its square root"


def thumbnails(
    maps: Mapping[Place, Any],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    captions: Mapping[Place, str] | None = None,
    title: str = "",
) -> Figure:
    """Draws maps of weights `[h, w]` in a grid, each by its row and column; a place without a map
    stays empty. The colours of each reach up to its own largest weight, by its square root, so that
    weak links show. `captions` stand below single maps. The figure belongs to no window: save it
    with `save_picture`.

    Raises:
        ValueError: weights are negative or not finite, or a place lies outside the grid.

    Warns if no installed font has some character, which is then drawn as its code point.
    """
    for spot in maps:
        if not (0 <= spot[0] < len(rows) and 0 <= spot[1] < len(columns)):
            raise ValueError(
                f"thumbnails: places must lie within {len(rows)} × {len(columns)}; got {spot}"
            )
    fonts = choose_fonts("".join([*rows, *columns, *(captions or {}).values(), title, "…"]))
    if fonts.missing:
        warnings.warn(fonts.complaint(), stacklevel=2)
    sheet = _Sheet(fonts, rows, columns, captions or {}, title)
    for spot, weights in maps.items():
        sheet.draw(spot, weights)
    return sheet.figure


class _Sheet:
    """A figure with the names of rows and columns, and room for a map at each place."""

    def __init__(
        self,
        fonts: FontChoice,
        rows: Sequence[str],
        columns: Sequence[str],
        captions: Mapping[Place, str],
        title: str,
    ) -> None:
        self.fonts, self.captions, self.figure = fonts, captions, new_figure()
        names = [fonts.drawable(shortened(row, _LABEL_CHARACTERS)) for row in rows]
        title = fonts.drawable(title)
        self.left = max(self._width(name, LABEL_SIZE) for name in names) + 2 * _GAP
        self.top = _GAP + _LINE * (1 + bool(title))
        self.across = _SIDE + _GAP
        self.down = self.across + (_CAPTION if captions else 0)
        texts = max(self._width(title, LABEL_SIZE), self._width(_NOTE, SMALL_SIZE)) + 2 * _GAP
        self.figure.set_size_inches(
            max(self.left + len(columns) * self.across, texts),
            self.top + len(rows) * self.down + _LINE,
        )
        self._write(title, _GAP, _GAP, LABEL_SIZE, va="top")
        self._write(_NOTE, _GAP, self.figure.get_figheight() - _GAP, SMALL_SIZE, va="bottom")
        for number, column in enumerate(columns):
            left, _ = self._corner((0, number))
            middle, column = left + _SIDE / 2, fonts.drawable(column)
            self._write(column, middle, self.top - 0.05, SMALL_SIZE, ha="center", va="bottom")
        for number, name in enumerate(names):
            _, above = self._corner((number, 0))
            right, middle = self.left - _GAP, above + _SIDE / 2
            self._write(name, right, middle, LABEL_SIZE, ha="right", va="center")

    def draw(self, spot: Place, weights: Any) -> None:
        """A map at its place, and below it what is said of it."""
        left, above = self._corner(spot)
        axes = place(self.figure, left, above, _SIDE, _SIDE)
        axes.imshow(_pixels(weights), cmap=COLOURS, vmin=0, vmax=1, aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_linewidth(0.4)
        caption = self.fonts.drawable(shortened(self.captions.get(spot, ""), _CAPTION_CHARACTERS))
        middle, below = left + _SIDE / 2, above + _SIDE + 0.02
        self._write(caption, middle, below, _CAPTION_SIZE, ha="center", va="top")

    def _corner(self, spot: Place) -> tuple[float, float]:
        return self.left + spot[1] * self.across, self.top + spot[0] * self.down

    def _write(self, text: str, left: float, above: float, size: float, **how: Any) -> None:
        if text:
            width, height = self.figure.get_size_inches()
            style = self.fonts.style(size)
            self.figure.text(left / width, 1 - above / height, text, **style, **how)

    def _width(self, text: str, size: float) -> float:
        return width_of(self.figure, text, self.fonts.style(size))


def _pixels(weights: Any) -> Any:
    """The square roots of shares of the largest weight, as pixels of a square."""
    rows, columns = ([""] * len(side) for side in (weights, weights[0]))
    labelled = LabelledWeights.check("thumbnails", weights, rows, columns)
    shares = labelled.share(labelled.strongest(None)).sqrt()
    size = [max(_PIXELS, side) for side in shares.shape]
    return F.interpolate(shares[None, None], size, mode="nearest-exact")[0, 0].numpy()
