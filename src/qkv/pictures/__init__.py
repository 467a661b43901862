"""Pictures of attention weights: in the terminal, as PNG, SVG or PDF, and as HTML.

Nothing here knows about models. Everything takes weights `[rows, columns]` (a tensor, nested lists,
or an object with `dense()` such as `qkv.AttentionMatrix`) and their labels. Names that begin with
`Terminal` need rich; names that end with `_html`, and `merge_columns`, need torch alone; the others
need matplotlib. Each is imported at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv._later import named_later

if TYPE_CHECKING:
    from qkv.pictures.figure import heatmap as heatmap
    from qkv.pictures.fonts import chinese_font as chinese_font
    from qkv.pictures.labelled import merge_columns as merge_columns
    from qkv.pictures.laid_over import overlay as overlay
    from qkv.pictures.page import map_html as map_html
    from qkv.pictures.page import text_html as text_html
    from qkv.pictures.painted import TerminalGrid as TerminalGrid
    from qkv.pictures.painted import TerminalWords as TerminalWords
    from qkv.pictures.saving import PICTURE_SUFFIXES as PICTURE_SUFFIXES
    from qkv.pictures.saving import check_picture_path as check_picture_path
    from qkv.pictures.saving import numbered as numbered
    from qkv.pictures.saving import picture_bytes as picture_bytes
    from qkv.pictures.saving import picture_file as picture_file
    from qkv.pictures.saving import picture_svg as picture_svg
    from qkv.pictures.saving import save_picture as save_picture
    from qkv.pictures.small_maps import thumbnails as thumbnails
    from qkv.pictures.terminal import TerminalMap as TerminalMap
    from qkv.pictures.written import coloured_text as coloured_text
    from qkv.pictures.zoomed import Bar as Bar
    from qkv.pictures.zoomed import Side as Side
    from qkv.pictures.zoomed import cell_map as cell_map

_HOMES = {
    "Bar": "zoomed",
    "PICTURE_SUFFIXES": "saving",
    "Side": "zoomed",
    "TerminalGrid": "painted",
    "TerminalMap": "terminal",
    "TerminalWords": "painted",
    "cell_map": "zoomed",
    "check_picture_path": "saving",
    "chinese_font": "fonts",
    "coloured_text": "written",
    "heatmap": "figure",
    "map_html": "page",
    "merge_columns": "labelled",
    "numbered": "saving",
    "overlay": "laid_over",
    "picture_bytes": "saving",
    "picture_file": "saving",
    "picture_svg": "saving",
    "save_picture": "saving",
    "text_html": "page",
    "thumbnails": "small_maps",
}
__all__ = [
    "PICTURE_SUFFIXES",
    "Bar",
    "Side",
    "TerminalGrid",
    "TerminalMap",
    "TerminalWords",
    "cell_map",
    "check_picture_path",
    "chinese_font",
    "coloured_text",
    "heatmap",
    "map_html",
    "merge_columns",
    "numbered",
    "overlay",
    "picture_bytes",
    "picture_file",
    "picture_svg",
    "save_picture",
    "text_html",
    "thumbnails",
]

__getattr__, __dir__ = named_later(__name__, _HOMES)
