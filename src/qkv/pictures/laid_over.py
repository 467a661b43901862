"""A picture, and beside it the same with weights laid over its places."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from qkv.pictures.labelled import LabelledWeights

_EDGE = 3.0  # inches, of each picture
_TITLE = 0.4
_DARKEST = 0.25  # what is left of a place without weight


def overlay(image: Any, weights: Any, *, title: str = "") -> Figure:
    """Draw a picture `[3, H, W]`, values from 0 to 255, and beside it the same with each place as
    bright as the weight `[h, w]` of its region, the strongest as it is.

    Raises ValueError where the picture has another shape, or weights are negative or not finite.
    """
    pixels = torch.as_tensor(image)
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"overlay: image must be [3, H, W]; got {list(pixels.shape)}")
    rows, columns = ([""] * len(side) for side in (weights, weights[0]))
    labelled = LabelledWeights.check("overlay", weights, rows, columns)
    shares = labelled.share(labelled.strongest(None))
    light = _DARKEST + (1 - _DARKEST) * _spread(shares, pixels.shape[1], pixels.shape[2])
    height = _EDGE * pixels.shape[1] / pixels.shape[2]
    figure = Figure(figsize=(2 * _EDGE, height + (_TITLE if title else 0)))
    FigureCanvasAgg(figure)
    share = height / figure.get_figheight()
    for place, shown in enumerate((pixels.float(), pixels.float() * light)):
        axes = figure.add_axes((place / 2, 0, 0.5, share))
        axes.imshow((shown / 255).permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        axes.set_axis_off()
    if title:
        figure.text(0.01, 1 - _TITLE / 2 / figure.get_figheight(), title, va="center",
                    parse_math=False)  # fmt: skip
    return figure


def _spread(shares: Tensor, height: int, width: int) -> Tensor:
    """Weights of regions as weights of pixels, without steps."""
    spread = F.interpolate(shares[None, None], (height, width), mode="bilinear")
    return spread[0, 0]
