"""The pointing game: does a classifier of pictures look at the object?
Needs what `.[tasks]` brings.

    python benchmarks/pointing.py make PICTURES OUT.npz [--pictures N] [--edge 96] [--seed 0]
    python benchmarks/pointing.py score MODEL PASTED.npz [--json FILE]

`make` pastes labelled pictures at random places of larger ones, half of them on smoothed colour
noise and half on shuffled tiles of other pictures. `score` counts how often the centre of the
hottest cell of a trained classifier's attention pooling, which is what `qkv classify --show`
prints, lies on what was pasted, beside what the middle of the picture and a random cell reach.
Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop" (2018), section 4.1; here
the object is a rectangle, and there is no margin around it.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy
import torch
from common import machine, save
from numpy.typing import NDArray
from torch import Tensor

from qkv.ground.files import writing
from qkv.tasks.classification import ImageLabeller
from qkv.tasks.classification.accuracy import Accuracy
from qkv.tasks.classification.images.data import read_pictures

BACKGROUNDS = ("noise", "tiles")
TILE = 8

Image = NDArray[numpy.uint8]  # [H, W, 3]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="paste pictures on larger ones")
    making.add_argument("data", type=Path, help="what qkv train classify-image reads")
    making.add_argument("out", type=Path)
    making.add_argument("--pictures", type=int, help="so many, drawn by chance; default: all")
    making.add_argument("--edge", type=int, default=96, help="of the larger pictures")
    making.add_argument("--seed", type=int, default=0)
    scoring = commands.add_parser("score", help="count how often the hottest cell is on the object")
    scoring.add_argument("model", type=Path)
    scoring.add_argument("data", type=Path, help="made by make, of pictures not trained on")
    scoring.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.command == "make":
        make(given.data, given.out, given.pictures, given.edge, given.seed)
    else:
        found = score(ImageLabeller.load(given.model), given.data)
        print(table(found))
        if given.json:
            save(given.json, json.dumps({"machine": machine(), "figures": found}, indent=1) + "\n")


def make(data: Path, out: Path, pictures: int | None, edge: int, seed: int) -> None:
    """Write an .npz file of `images`, `labels`, `classes`, `boxes` and `backgrounds`; a row of
    boxes is top, left, bottom, right, the last two outside."""
    read = read_pictures(data)
    images = read.images.permute(0, 2, 3, 1).numpy()
    if edge < max(images.shape[1:3]) or edge % TILE:
        raise SystemExit(f"pointing: --edge must be a multiple of {TILE} and hold the pictures")
    chosen = numpy.random.default_rng(seed).permutation(len(images))[:pictures]
    boxes, backgrounds = [], []
    with writing(out) as stream, zipfile.ZipFile(stream, "w") as file:
        # One after the other: all of them may not fit into memory.
        with file.open("images.npy", "w", force_zip64=True) as member:
            shape = (len(chosen), edge, edge, 3)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            numpy.lib.format.write_array_header_1_0(member, header)
            for number in chosen.tolist():
                image, box, background = pasted(images, number, edge, seed)
                member.write(image.tobytes())
                boxes.append(box)
                backgrounds.append(background)
        classes = sorted(set(read.labels))
        arrays = {
            "labels": [classes.index(read.labels[number]) for number in chosen],
            "classes": classes,
            "boxes": boxes,
            "backgrounds": backgrounds,
        }
        for name, values in arrays.items():
            with file.open(f"{name}.npy", "w") as member:
                numpy.save(member, numpy.array(values))


def pasted(images: Image, number: int, edge: int, seed: int) -> tuple[Image, list[int], str]:
    """One of the pictures `[N, h, w, 3]` on a larger one, its box and the kind of background; the
    same whichever others are made."""
    chance = numpy.random.default_rng([seed, number])
    height, width = images.shape[1:3]
    top, left = (int(chance.integers(edge - size + 1)) for size in (height, width))
    kind = str(chance.choice(BACKGROUNDS))
    canvas = noise(edge, chance) if kind == "noise" else tiles(images, number, edge, chance)
    canvas[top : top + height, left : left + width] = images[number]
    return canvas, [top, left, top + height, left + width], kind


def noise(edge: int, chance: numpy.random.Generator) -> Image:
    """Colours drawn by chance in a grid of 1, 2, 4 or 8 pixels, and smooth between its points."""
    points = edge // int(chance.choice([1, 2, 4, 8]))
    drawn = torch.from_numpy(chance.uniform(0, 255, (1, 3, points, points)))
    smooth = torch.nn.functional.interpolate(drawn, (edge, edge), mode="bilinear")
    return smooth[0].permute(1, 2, 0).to(torch.uint8).contiguous().numpy()


def tiles(images: Image, number: int, edge: int, chance: numpy.random.Generator) -> Image:
    """Squares cut at random places of random other pictures: parts of objects, and no object."""
    many = edge // TILE
    others = (number + chance.integers(1, len(images), (many, many))) % len(images)
    tops = chance.integers(images.shape[1] - TILE + 1, size=(many, many))
    lefts = chance.integers(images.shape[2] - TILE + 1, size=(many, many))
    canvas = numpy.empty((edge, edge, 3), numpy.uint8)
    for row, column in numpy.ndindex(many, many):
        top, left = int(tops[row, column]), int(lefts[row, column])
        cut = images[others[row, column], top : top + TILE, left : left + TILE]
        canvas[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = cut
    return canvas


def score(labeller: ImageLabeller, data: Path) -> dict[str, Any]:
    """Shares of hits, of all pictures and of parts of them, by who points."""
    pictures = read_pictures(data)
    with numpy.load(data) as file:
        boxes, backgrounds = torch.from_numpy(file["boxes"]), file["backgrounds"].tolist()
    size = pictures.images.shape[2:]
    found = labeller.classify(pictures.images, pictures.labels)
    if found[0].weights is None:
        raise SystemExit("pointing: this model has no attention, so it points nowhere")
    weights = torch.stack([one.weights for one in found if one.weights is not None])
    right = torch.tensor([a.label == b for a, b in zip(found, pictures.labels, strict=True)])
    pointed = {
        "attention pooling": hits(hottest(weights, size), boxes),
        "middle of the picture": hits(torch.tensor([edge / 2 for edge in size]), boxes),
        "random cell": expected(weights.shape[1:], size, boxes),
    }
    parts = {"all": torch.ones(len(boxes), dtype=torch.bool), "labelled rightly": right}
    for kind in BACKGROUNDS:
        parts[f"on {kind}"] = torch.tensor([background == kind for background in backgrounds])
    return {
        name: {part: figure(hit[chosen]) for part, chosen in parts.items() if chosen.any()}
        for name, hit in pointed.items()
    }


def hottest(weights: Tensor, size: tuple[int, ...]) -> Tensor:
    """The centre `[N, 2]`, down and across, in pixels, of the cell of most weight in each of the
    maps `[N, h, w]` over pictures of `size`."""
    cells = weights.flatten(1).argmax(1)
    return centres(weights.shape[1:], size).flatten(0, 1)[cells]


def centres(cells: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """The centres `[h, w, 2]` of the cells of a map."""
    ticks = [
        (torch.arange(count) + 0.5) * length / count
        for count, length in zip(cells, size, strict=True)
    ]
    return torch.stack(torch.meshgrid(*ticks, indexing="ij"), -1)


def hits(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether points `[..., 2]` lie in boxes `[..., 4]`."""
    return ((points >= boxes[..., :2]) & (points < boxes[..., 2:])).all(-1)


def expected(cells: tuple[int, ...], size: tuple[int, ...], boxes: Tensor) -> Tensor:
    """The share `[N]` of cells whose centre is in each of the boxes `[N, 4]`."""
    return hits(centres(cells, size).flatten(0, 1), boxes.unsqueeze(1)).double().mean(1)


def figure(hit: Tensor) -> dict[str, Any]:
    """The share of hits, with a 95 % interval where they were counted, not expected."""
    found: dict[str, Any] = {"count": len(hit), "share": float(hit.double().mean())}
    if hit.dtype == torch.bool:
        found["interval"] = Accuracy(int(hit.sum()), len(hit), {}).interval
    return found


def table(found: dict[str, Any]) -> str:
    """The figures, one who points a line, in per cent."""
    parts = list(next(iter(found.values())))
    lines = [f"{'hits, per cent':24}" + "".join(f"{part:>24}" for part in parts)]
    for name, figures in found.items():
        lines.append(f"{name:24}" + "".join(f"{_cell(figures[part]):>24}" for part in parts))
    counts = [f"{one['count']:,} pictures" for one in next(iter(found.values())).values()]
    return "\n".join([*lines, f"{'':24}" + "".join(f"{count:>24}" for count in counts)])


def _cell(figure: dict[str, Any]) -> str:
    text = f"{100 * figure['share']:.1f}"
    if "interval" in figure:
        text += " [{:.1f}, {:.1f}]".format(*(100 * bound for bound in figure["interval"]))
    return text


if __name__ == "__main__":
    main()
