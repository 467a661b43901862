"""Draws a picture, and beside it the same picture with weights laid over its places."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from qkv.pictures.fonts import FontChoice, choose_fonts, width_of
from qkv.pictures.labelled import LabelledWeights
from qkv.pictures.style import LABEL_SIZE, draw_bar, new_figure, place

# Lengths are in inches.
_EDGE = 3.2  # of a picture's longer side
_NARROWEST = 1.6  # room for what stands above a picture
_LINE = 0.32
_GAP = 0.14
_BAR = 0.14
_BAR_TEXTS = 0.8
_LOWEST_BAR = 0.9
_OPAQUE = 0.8  # of the colour on the place of most weight; none where there is no weight
_FRAME = "#39ff88"
_TITLES = ("the picture", "where it looked")


def overlay(
    image: Any, weights: Any, *, title: str = "", mark: tuple[int, int] | None = None
) -> Figure:
    """Draws a picture `[3, H, W]`, values from 0 to 255, and beside it the same in grey with the
    weights `[h, w]` of its regions laid over it. A bar says what the colours mean. `mark` is the
    row and column of a region that is framed in both.

    Raises:
        ValueError: the picture has another shape, or a weight is negative or not finite.

    Warns if no installed font has some character of the title, which is then drawn as its code
    point.
    """
    pixels = torch.as_tensor(image)
    if pixels.ndim != 3 or pixels.shape[0] != 3 or 0 in pixels.shape:
        raise ValueError(f"overlay: image must be [3, H, W]; got {list(pixels.shape)}")
    rows, columns = ([""] * len(side) for side in (weights, weights[0]))
    labelled = LabelledWeights.check("overlay", weights, rows, columns)
    strongest = labelled.strongest(None)
    fonts = choose_fonts(title)
    if fonts.missing:
        warnings.warn(fonts.complaint(), stacklevel=2)
    height, width = pixels.shape[1:]
    scale = _EDGE / max(height, width)
    sheet = _Sheet(scale * height, scale * width, fonts, fonts.drawable(title))
    colours = (pixels.float() / 255).permute(1, 2, 0).clamp(0, 1)
    heated = _heated(colours.mean(-1), _spread(labelled.share(strongest), height, width))
    high, wide = height / len(rows), width / len(columns)
    for number, drawn in enumerate((colours, heated)):
        axes = sheet.draw(number, drawn)
        if mark is not None:
            corner = mark[1] * wide - 0.5, mark[0] * high - 0.5
            axes.add_patch(Rectangle(corner, wide, high, fill=False, edgecolor=_FRAME, lw=1.5))
    middling = _heated(torch.full((1, 256), 0.5), torch.linspace(0, 1, 256)[None])[0]
    draw_bar(sheet.bar(), strongest, ListedColormap(middling.numpy()))
    return sheet.figure


class _Sheet:
    """A figure with room for two pictures side by side, what stands above them, and a bar."""

    def __init__(self, height: float, width: float, fonts: FontChoice, title: str) -> None:
        self.height, self.width = height, width
        self.pitch = max(width, _NARROWEST) + _GAP
        self.top = _GAP + _LINE * (1 + bool(title))
        self.figure, self.style = new_figure(), fonts.style(LABEL_SIZE)
        whole = max(
            _GAP + 2 * self.pitch + _BAR + _BAR_TEXTS,
            width_of(self.figure, title, self.style) + 2 * _GAP,
        )
        self.bar_height = max(height, _LOWEST_BAR)
        self.figure.set_size_inches(whole, self.top + self.bar_height + _GAP)
        self._write(title, _GAP, _GAP)

    def draw(self, number: int, colours: Tensor) -> Axes:
        """A picture `[H, W, 3]`, the first or the second one."""
        left = _GAP + number * self.pitch
        self._write(_TITLES[number], left, self.top - _LINE)
        axes = place(self.figure, left, self.top, self.width, self.height)
        axes.imshow(colours.numpy(), interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        return axes

    def bar(self) -> Axes:
        """Where the bar belongs."""
        return place(self.figure, _GAP + 2 * self.pitch, self.top, _BAR, self.bar_height)

    def _write(self, text: str, left: float, above: float) -> None:
        width, height = self.figure.get_size_inches()
        self.figure.text(left / width, 1 - above / height, text, va="top", **self.style)


def _spread(shares: Tensor, height: int, width: int) -> Tensor:
    """Weights of regions as weights of pixels, without steps."""
    spread = F.interpolate(shares[None, None], (height, width), mode="bilinear")
    return spread[0, 0]


def _heated(grey: Tensor, shares: Tensor) -> Tensor:
    """Grey pixels `[H, W]` under the colours of their weights: `[H, W, 3]`."""
    heat = torch.from_numpy(colormaps["inferno"](shares.numpy()))[..., :3].float()
    opaque = (_OPAQUE * shares).unsqueeze(-1)
    return (1 - opaque) * grey.unsqueeze(-1) + opaque * heat
