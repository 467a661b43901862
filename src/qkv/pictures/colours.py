"""Colour ramps from no weight to the strongest, for dark terminals and for white paper."""

from __future__ import annotations

Colour = tuple[int, int, int]

# Lightness changes steadily along each ramp, so both also read in grey and for the colour-blind.
SCREEN_RAMP: tuple[Colour, ...] = (
    (16, 20, 48),
    (30, 62, 112),
    (24, 118, 142),
    (66, 176, 136),
    (176, 216, 96),
    (252, 240, 160),
)
PAPER_RAMP: tuple[Colour, ...] = (
    (241, 245, 249),
    (190, 220, 226),
    (110, 186, 190),
    (34, 134, 158),
    (24, 80, 132),
    (22, 32, 88),
)


def ramp_colour(share: float, ramp: tuple[Colour, ...]) -> Colour:
    """Colour of a share in [0, 1] of the strongest weight, linear between the ramp's stops."""
    place = min(max(share, 0.0), 1.0) * (len(ramp) - 1)
    stop = min(int(place), len(ramp) - 2)
    rest = place - stop
    red, green, blue = (
        round(low + (high - low) * rest)
        for low, high in zip(ramp[stop], ramp[stop + 1], strict=True)
    )
    return red, green, blue


def ink_on(background: Colour) -> Colour:
    """Black or white ink, whichever is readable on that background."""
    red, green, blue = background
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    return (0, 0, 0) if luminance > 120 else (255, 255, 255)
