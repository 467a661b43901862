"""Which installed fonts can draw a text, for matplotlib draws boxes for what its font lacks; and
how wide it is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from matplotlib import font_manager
from matplotlib.figure import Figure

# Comes with matplotlib and draws Latin, Greek, Cyrillic and many symbols.
_BASE_FAMILY = "DejaVu Sans"
# Simplified Chinese first; every other installed font is tried after these.
_PREFERRED = (
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Noto Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "Microsoft YaHei",
    "SimHei",
    "DengXian",
    "Noto Sans CJK JP",
    "Arial Unicode MS",
)
# The first draws boxes for everything, the second holds pictures that matplotlib cannot draw.
_UNUSABLE = ("last resort", "color emoji")
CHINESE_SAMPLE = "注意力翻译"
INSTALL_HINT = (
    "install a font that has them, for Chinese fonts-wqy-microhei or fonts-noto-cjk on Debian and "
    "Ubuntu, google-noto-sans-cjk-fonts on Fedora, Noto Sans SC elsewhere"
)


class MissingCharacters(UserWarning):
    """No installed font has some characters of a picture."""


@dataclass(frozen=True)
class FontChoice:
    """Font families to try in order, and the characters that none of the installed fonts has."""

    families: tuple[str, ...]
    missing: str

    def drawable(self, text: str) -> str:
        """The text with every missing character as its code point, such as `[U+6CE8]`."""
        return "".join(
            f"[U+{ord(character):04X}]" if character in self.missing else character
            for character in text
        )

    def style(self, size: float) -> dict[str, Any]:
        """What matplotlib is told to draw a text of so many points with these fonts."""
        return {"family": list(self.families), "fontsize": size, "parse_math": False}

    def complaint(self) -> MissingCharacters:
        """What to tell the user when characters are missing."""
        some = " ".join(self.missing[:10]) + (" …" if len(self.missing) > 10 else "")
        return MissingCharacters(
            f"no installed font has {len(self.missing)} of the characters in the picture ({some}); "
            f"they are drawn as code points: {INSTALL_HINT}"
        )


def choose_fonts(text: str) -> FontChoice:
    """The fewest installed fonts, in order of preference, that draw every character of a text."""
    missing = {character for character in text if not character.isspace()}
    families = []
    for family, path in _candidates():
        drawn = missing & _characters(path)
        if drawn or family == _BASE_FAMILY:
            families.append(family)
            missing -= drawn
        if not missing:
            break
    return FontChoice(tuple(families), "".join(sorted(missing)))


def width_of(figure: Figure, text: str, style: dict[str, Any]) -> float:
    """How wide a text is drawn, in inches."""
    drawn = figure.text(0, 0, text, **style)
    width = drawn.get_window_extent().width / figure.dpi
    drawn.remove()
    return width


def chinese_font() -> str | None:
    """The family that Chinese would be drawn with, or None when no installed font has it."""
    choice = choose_fonts(CHINESE_SAMPLE)
    return None if choice.missing else choice.families[-1]


def _candidates() -> Iterator[tuple[str, str]]:
    """Name and file of every usable font: matplotlib's own, the preferred ones, the others."""
    _add_new_fonts()
    installed = {
        entry.name: entry.fname
        for entry in sorted(font_manager.fontManager.ttflist, key=_face_order, reverse=True)
        if not any(word in entry.name.lower() for word in _UNUSABLE)
    }
    first = [name for name in (_BASE_FAMILY, *_PREFERRED) if name in installed]
    for name in [*first, *sorted(installed.keys() - set(first))]:
        yield name, installed[name]


def _face_order(entry: font_manager.FontEntry) -> tuple[bool, bool, str]:
    """Sorts a family's regular face first: it is the one that labels are drawn with."""
    return entry.style != "normal", str(entry.weight) not in ("400", "normal"), entry.fname


@lru_cache(maxsize=1)
def _add_new_fonts() -> None:
    """Fonts installed since matplotlib wrote its list are not in it."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        try:
            font_manager.fontManager.addfont(path)
        except (OSError, RuntimeError):  # a damaged file, or a format FreeType cannot read
            continue


@lru_cache(maxsize=256)
def _characters(path: str) -> frozenset[str]:
    try:
        font = font_manager.get_font(path)
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
