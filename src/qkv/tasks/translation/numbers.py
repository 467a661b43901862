"""The numbers that a text names, in digits or in Chinese numerals."""

from __future__ import annotations

import re
from decimal import Decimal

_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")}
_DIGITS |= {"〇": 0, "两": 2, "兩": 2}
_TENS = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_UNITS = {"百", "千", *_MYRIADS}  # which no numeral consists of
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+"
_WORDS = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_FIGURES = re.compile(
    rf"({_GROUPED})(\.[0-9]+)?([十百千万萬亿億]*)(?:[ -]({'|'.join(_WORDS)})\b)?", re.IGNORECASE
)
_NUMERAL = re.compile(f"[{''.join(_DIGITS | _TENS | _MYRIADS)}]+")


def figures(text: str) -> set[Decimal]:
    """The numbers that stand in the text in digits; Chinese and English units behind them are
    factors."""
    values = set()
    for whole, fraction, units, word in _FIGURES.findall(text):
        value = Decimal(whole.replace(",", "") + fraction) * _WORDS.get(word.lower(), 1)
        for unit in units:
            value *= (_TENS | _MYRIADS)[unit]
        values.add(value)
    return values


def numbers(text: str) -> set[Decimal]:
    """The numbers that the text names in digits or Chinese numerals."""
    numerals = (one for one in _NUMERAL.findall(text) if not _UNITS.issuperset(one))
    return figures(text) | {_value(numeral) for numeral in numerals}


def _value(numeral: str) -> Decimal:
    """Of 三百六十五 as of 三六五, which names digit after digit."""
    if len(numeral) > 1 and all(character in _DIGITS for character in numeral):
        return Decimal("".join(str(_DIGITS[character]) for character in numeral))
    total = section = digit = 0
    for character in numeral:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _TENS:
            section += (digit or 1) * _TENS[character]
            digit = 0
        else:
            total = (total + section + digit) * _MYRIADS[character]
            section = digit = 0
    return Decimal(total + section + digit)
