"""Where each region of a photograph looks: self-attention over its patches, without training.

    python examples/photograph.py [--picture PATH]

A patch is query and key by its colours and its place, so it looks at patches that are like it and
not too far away. The score is `qkv.Gaussian`: what softmax makes of it are the weights of a
bilateral filter (Tomasi and Manduchi 1998), here between all pairs of patches. As values they
carry their colour: the weighted sums are the photograph as its patches see it.
"""

from __future__ import annotations

import torch
from _program import command_line, say, scikit_image_data, show_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import qkv
from qkv.pictures import save_picture

PATCH = 8  # pixels along a side
WIDTH = 6.0  # of the Gaussian: how unlike a patch may be, in units of colour
PLACE = 0.05  # units of colour for a pixel of distance
# Points of `skimage.data.astronaut()`, a NASA portrait in the public domain: row and column.
QUERIES = {
    "face": (150, 244),
    "orange suit": (420, 130),
    "helmet": (420, 440),
    "wall": (60, 330),
}


def describe(photograph: Tensor) -> tuple[Tensor, Tensor]:
    """What a patch is like, `[patches, 8]`, and its mean colour, `[patches, 3]`.

    A description is the mean and the spread of the colours in it, in units of about one just
    noticeable step (CIELAB), and its place.
    """
    from skimage.color import rgb2lab

    height, width, _ = photograph.shape
    colours = torch.from_numpy(rgb2lab(photograph.numpy())).float()
    parts = patches(colours)
    place = torch.cartesian_prod(torch.arange(0, height, PATCH), torch.arange(0, width, PATCH))
    likeness = torch.cat([parts.mean(1), parts.std(1) / 2, PLACE * place], dim=-1)
    return likeness, patches(photograph).mean(1)


def patches(image: Tensor) -> Tensor:
    """`[height, width, 3] -> [patches, pixels, 3]`, row by row."""
    height, width, colours = image.shape
    grid = image.reshape(height // PATCH, PATCH, width // PATCH, PATCH, colours)
    return grid.transpose(1, 2).reshape(-1, PATCH * PATCH, colours)


def account(weights: Tensor, row: int, columns: int) -> list[object]:
    """How many patches hold half of a query's weight, the largest, and the mean distance."""
    patch = torch.arange(weights.numel())
    down, across = patch // columns - row // columns, patch % columns - row % columns
    distance = PATCH * torch.hypot(down.float(), across.float())
    half = int((weights.sort(descending=True).values.cumsum(0) < 0.5).sum()) + 1
    return [half, f"{float(weights.max()):.4f}", f"{float(weights @ distance):.0f}"]


def hexadecimal(colour: Tensor) -> str:
    """A colour as on the web."""
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour)


def draw(photograph: Tensor, seen: Tensor, looks: dict[str, Tensor]) -> Figure:
    """The photograph with its queries, where they look, and the sums of what all patches see."""
    figure = Figure(figsize=(10, 7.2), layout="constrained")
    figure.suptitle("Where four regions of a photograph look")
    axes = figure.subplots(2, 3)
    axes[0, 0].imshow(photograph.numpy())
    axes[0, 0].set_title("photograph and queries")
    for number, (row, col) in enumerate(QUERIES.values(), 1):
        mark(axes[0, 0], row, col, str(number))
    grey = torch.nn.functional.avg_pool2d(photograph.mean(-1)[None], PATCH)[0]
    extent = (0, photograph.shape[1], photograph.shape[0], 0)
    panels = [axes[0, 1], axes[0, 2], axes[1, 0], axes[1, 1]]
    for number, (panel, (name, weights)) in enumerate(zip(panels, looks.items(), strict=True), 1):
        panel.imshow(grey.numpy(), cmap="gray", vmin=0, vmax=1, extent=extent)
        share = (weights / weights.max()).reshape(grey.shape)
        panel.imshow(share.numpy(), cmap="inferno", vmin=0, vmax=1, alpha=0.7, extent=extent)
        mark(panel, *QUERIES[name], str(number))
        panel.set_title(f"{number}: {name}")
    figure.colorbar(
        panels[-1].images[-1], ax=list(axes[:, 2]), shrink=0.6, label="weight / largest weight"
    )
    axes[1, 2].imshow(seen.reshape(*grey.shape, 3).clamp(0, 1).numpy(), extent=extent)
    axes[1, 2].set_title("every patch: weights × colours")
    for panel in axes.flat:
        panel.set_axis_off()
    return figure


def mark(axes: Axes, row: int, col: int, text: str) -> None:
    """A number on the patch of a query."""
    box = {"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": "black"}
    axes.annotate(text, (col, row), ha="center", va="center", fontsize=8, bbox=box)


def main() -> None:
    """Print who looks where and draw it."""
    options = command_line("photograph", __doc__).parse_args()
    photograph = torch.from_numpy(scikit_image_data().astronaut()).float() / 255
    likeness, colours = describe(photograph)
    matrix = qkv.attention(likeness, likeness, score=qkv.Gaussian(WIDTH))
    say(f"{len(likeness):,} patches look at each other: {matrix}")
    columns = photograph.shape[1] // PATCH
    rows = {name: row // PATCH * columns + col // PATCH for name, (row, col) in QUERIES.items()}
    looks = dict(zip(rows, matrix[torch.tensor(list(rows.values()))], strict=True))
    seen = matrix @ colours
    show_table(
        "Where four of them look",
        ["query", "half on", "largest", "pixels away", "colour", "colour seen"],
        [
            [
                name,
                *account(looks[name], row, columns),
                *map(hexadecimal, (colours[row], seen[row])),
            ]
            for name, row in rows.items()
        ],
    )
    say("half on: the number of patches that hold half of the weight.")
    save_picture(draw(photograph, seen, looks), options.picture)
    say(f"Drawn: {options.picture}")


if __name__ == "__main__":
    main()
