"""What a notebook shows of attention matrices: of one a line and a small picture of a few heads, of
several a small picture each."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..ground.tensors import is_concrete

if TYPE_CHECKING:
    from .matrix import AttentionMatrix

_MOST_HEADS = 4
_MOST_PIXELS = 128  # along a side of the map
_MOST_WORK = 2**31  # multiplications for the maps of one matrix: some tenths of a second
_SLOW = 32  # a score that is no inner product takes as long as so many of these
_SIDE, _SMALL_SIDE, _LEAST = 160, 104, 8  # pixels of the page along a side of a map
_PAPER, _INK = (241, 245, 249), (22, 32, 88)


def html_of(matrix: AttentionMatrix) -> str:
    """The line of `repr`, and below it coarse maps of the first heads. Of a long matrix some
    queries alone are looked at, so that showing it is always quick."""
    text = f"<code>{escape(repr(matrix))}</code>"
    if not _has_weights(matrix):
        return text
    *lead, rows, cols = matrix.shape
    first = _first_entry(matrix)
    maps, every = _maps(first[:_MOST_HEADS] if lead else first, _MOST_WORK)
    pictures = "".join(_picture(entry, cols / rows, _SIDE) for entry in maps)
    heads = f"the first {len(maps)} of {lead[-1]} heads, " if lead and lead[-1] > 1 else ""
    which = f"one query of {every:,}, " if every > 1 else ""
    note = f"{heads}{which}dark: much attention; each map up to its own largest weight"
    return f"{text}<div>{pictures}</div><small>{note}</small>"


def maps_html(named: Sequence[tuple[str, AttentionMatrix]]) -> str:
    """A small map of each matrix with its name below: the mean over the heads of its first entry.
    Together they may take as long as what is shown of four matrices."""
    figures = []
    for name, matrix in named:
        if _has_weights(matrix):
            maps, _ = _maps(_first_entry(matrix), 4 * _MOST_WORK // len(named))
            picture = _picture(maps.mean(0), matrix.shape[-1] / matrix.shape[-2], _SMALL_SIDE)
            caption = escape(name).replace(".", ".<wbr>")
            style = f"display:inline-block;vertical-align:top;width:{_SMALL_SIDE + 8}px"
            figures.append(f'<span style="{style}">{picture}<br><small>{caption}</small></span>')
    return f"<div>{''.join(figures)}</div>" if figures else ""


def _has_weights(matrix: AttentionMatrix) -> bool:
    """Whether they may be computed here: of a shared matrix others would have to compute too."""
    shared = matrix.shards is not None
    return not shared and 0 not in matrix.shape and is_concrete(matrix.query, matrix.key)


def _first_entry(matrix: AttentionMatrix) -> AttentionMatrix:
    """`[H, Lq, Lk]` of the first batch entry, or the whole matrix where it has no heads."""
    batch = len(matrix.shape) - 3
    return matrix[(0,) * batch] if batch > 0 else matrix


def _maps(matrix: AttentionMatrix, work: int) -> tuple[Tensor, int]:
    """Coarse maps of all heads, `[heads, rows, columns]`, within that many multiplications: one of
    how many queries is looked at is the second answer."""
    *heads, rows, cols = matrix.shape
    query, key = matrix.query, matrix.key
    slow = 1 if matrix.score.product_width(query, key) is not None else _SLOW
    of_a_query = prod(heads) * cols * max(1, query.shape[-1]) * slow
    most = max(1, min(_MOST_PIXELS, work // of_a_query))
    every = -(-rows // most)
    with torch.no_grad():
        chosen = torch.arange(rows, device=matrix.device)[::every]
        count = len(chosen)
        if matrix.rows is not None:
            chosen = matrix.rows[chosen]
        maps = replace(matrix.detach(), rows=chosen).pool(count, min(cols, _MOST_PIXELS))
    return maps.reshape(-1, *maps.shape[-2:]).float().cpu(), every


def _picture(weights: Tensor, ratio: float, side: int) -> str:
    """An image element with one pixel per cell, shown as wide and high as the matrix is."""
    low = weights.clamp(max=0).nan_to_num(0, 0, 0).amin()
    spread = weights.nan_to_num(0, 0, 0).amax() - low
    share = ((weights - low) / spread.clamp(min=1e-30)).nan_to_num(0, 0, 0).clamp(0, 1).sqrt()
    paper, ink = torch.tensor(_PAPER), torch.tensor(_INK)
    pixels = (paper + share.unsqueeze(-1) * (ink - paper)).round().to(torch.uint8)
    data = base64.b64encode(_png(pixels)).decode()
    width, height = (max(_LEAST, min(side, side * part)) for part in (ratio, 1 / ratio))
    style = f"width:{width:.0f}px;height:{height:.0f}px;margin:4px;image-rendering:pixelated"
    return f'<img style="{style}" src="data:image/png;base64,{data}" alt="attention weights">'


def _png(pixels: Tensor) -> bytes:
    """`[height, width, 3]` bytes as a PNG file."""
    height, width, _ = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    lines = b"".join(b"\0" + bytes(line.flatten().tolist()) for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)
