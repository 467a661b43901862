"""What all figures have in common: sizes of text, colours, and the bar that says what they mean."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from qkv.pictures.colours import PAPER_RAMP

# In points.
LABEL_SIZE = 12
SMALL_SIZE = 9

COLOURS = LinearSegmentedColormap.from_list(
    "qkv", [tuple(part / 255 for part in colour) for colour in PAPER_RAMP]
)


def new_figure() -> Figure:
    """A figure that belongs to no window."""
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, left: float, above: float, width: float, height: float) -> Axes:
    """Axes of this size, so far from the figure's left and top, all in inches."""
    whole_width, whole_height = figure.get_size_inches()
    bottom = whole_height - above - height
    corner = left / whole_width, bottom / whole_height
    return figure.add_axes((*corner, width / whole_width, height / whole_height))


def draw_bar(axes: Axes, strongest: float, colours: Colormap, ticks: int = 3) -> None:
    """A colour bar from no weight to the strongest, in per cent."""
    assert axes.figure is not None
    axes.figure.colorbar(ScalarMappable(Normalize(0, 1), colours), cax=axes)
    shares = [tick / (ticks - 1) for tick in range(ticks)]
    axes.set_yticks(shares, [f"{100 * strongest * share:.3g}%" for share in shares])
    axes.set_ylabel("weight", fontsize=SMALL_SIZE)
    axes.tick_params(length=0, labelsize=SMALL_SIZE)
    axes.spines[:].set_visible(False)
