"""What a notebook shows of an attention matrix: one line, and a small picture of a few heads."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..ground.tensors import is_concrete

if TYPE_CHECKING:
    from .matrix import AttentionMatrix

_MOST_HEADS = 4
_MOST_PIXELS = 128  # along a side of the map
_SIDE = 160  # pixels of the page
_PAPER, _INK = (241, 245, 249), (22, 32, 88)


def html_of(matrix: AttentionMatrix) -> str:
    """The line of `repr`, and below it coarse maps of the first heads. Of a long matrix some
    queries alone are looked at, so that showing it is always quick."""
    text = f"<code>{escape(repr(matrix))}</code>"
    shared = matrix.shards is not None  # others would have to compute as well
    if shared or 0 in matrix.shape or not is_concrete(matrix.query, matrix.key):
        return text
    *lead, rows, cols = matrix.shape
    first = matrix if not lead else matrix[(0,) * (len(lead) - 1)][:_MOST_HEADS]
    every = -(-rows // _MOST_PIXELS)
    looked_at = range(0, rows, every)
    with torch.no_grad():
        chosen = torch.arange(rows, device=matrix.device)[::every]
        if matrix.rows is not None:
            chosen = matrix.rows[chosen]
        maps = replace(first.detach(), rows=chosen).pool(len(looked_at), min(cols, _MOST_PIXELS))
    maps = maps.reshape(-1, *maps.shape[-2:]).float().cpu()
    pictures = "".join(_picture(entry, cols / rows) for entry in maps)
    which = f"every {every}th query, " if every > 1 else ""
    heads = f"the first {len(maps)} of {lead[-1]} heads, " if lead else ""
    note = f"{heads}{which}dark: much attention; each map up to its own largest weight"
    return f"{text}<div>{pictures}</div><small>{note}</small>"


def _picture(weights: Tensor, ratio: float) -> str:
    """An image element with one pixel per cell, shown as wide and high as the matrix is."""
    low = weights.clamp(max=0).nan_to_num(0, 0, 0).amin()
    spread = weights.nan_to_num(0, 0, 0).amax() - low
    share = ((weights - low) / spread.clamp(min=1e-30)).nan_to_num(0, 0, 0).clamp(0, 1).sqrt()
    paper, ink = torch.tensor(_PAPER), torch.tensor(_INK)
    pixels = (paper + share.unsqueeze(-1) * (ink - paper)).round().to(torch.uint8)
    data = base64.b64encode(_png(pixels)).decode()
    width, height = min(_SIDE, _SIDE * ratio), min(_SIDE, _SIDE / ratio)
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
