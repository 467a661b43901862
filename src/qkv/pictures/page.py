"""Weights with their labels as HTML for notebooks. Needs torch alone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from qkv.pictures.colours import PAPER_RAMP, ink_on, ramp_colour
from qkv.pictures.labelled import LabelledWeights, shortened

_LABEL_CHARACTERS = 24
_NUMBER_FROM = 0.10  # smaller shares are left to the colour


def map_html(
    weights: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    top: float | None = 1.0,
    max_rows: int = 80,
    max_columns: int = 80,
) -> str:
    """Weights `[rows, columns]` as a table whose cells are coloured by them, in per cent.

    `top` is the weight with the strongest colour; None: the largest weight. At most `max_rows` and
    `max_columns` are shown, and a line below says what was left out.

    Raises:
        ValueError: labels do not fit the weights, or a weight is negative or not finite.
    """
    labelled = LabelledWeights.check("map_html", weights, rows, columns)
    strongest = labelled.strongest(top)
    labelled, note = labelled.cut(max_rows, max_columns)
    head = "".join(f"<th>{_label(label)}</th>" for label in labelled.columns)
    body = []
    shares = labelled.share(strongest).tolist()
    for label, line, row in zip(labelled.rows, labelled.weights.tolist(), shares, strict=True):
        cells = "".join(map(_cell, line, row))
        body.append(f"<tr><th>{_label(label)}</th>{cells}</tr>")
    below = f"<small>{escape(note)}</small>" if note else ""
    return f"<table><tr><th></th>{head}</tr>{''.join(body)}</table>{below}"


def text_html(weights: Any, words: Sequence[str], *, max_words: int = 800) -> str:
    """Words as a text, each on the colour of its weight; the largest weight has the darkest.

    At most `max_words` are shown, and a line below says so.

    Raises:
        ValueError: weights and words do not fit, or a weight is negative or not finite.
    """
    labelled = LabelledWeights.check("text_html", [list(weights)], [""], words)
    strongest = labelled.strongest(None)
    labelled, note = labelled.cut(1, max_words, nouns=("texts", "words"))
    shares = labelled.share(strongest)[0].tolist()
    shown = " ".join(
        f'<span style="{_style(share)};padding:1px 3px" title="{100 * weight:.3g}%">'
        f"{escape(word)}</span>"
        for word, weight, share in zip(
            labelled.columns, labelled.weights[0].tolist(), shares, strict=True
        )
    )
    bar = "".join(f'<span style="{_style(step / 10)}">&nbsp;</span>' for step in range(11))
    scale = f"<small>{bar} 0 to {100 * strongest:.3g}%{'; ' + escape(note) if note else ''}</small>"
    return f'<p style="line-height:1.8">{shown}</p>{scale}'


def _label(label: str) -> str:
    return escape(shortened(label, _LABEL_CHARACTERS))


def _cell(weight: float, share: float) -> str:
    number = f"{100 * weight:.0f}" if share >= _NUMBER_FROM else ""
    return f'<td style="{_style(share)};text-align:center">{number}</td>'


def _style(share: float) -> str:
    ground = ramp_colour(share, PAPER_RAMP)
    return "background:rgb({},{},{});color:rgb({},{},{})".format(*ground, *ink_on(ground))
