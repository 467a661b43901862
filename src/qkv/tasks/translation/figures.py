"""How Chinese writes what English has in digits: 2.7 million as 270万, 27th as 27, 9:50 also as
9点50分."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

TIME = r"[0-9]{1,2}:[0-9]{2}"
CODE = r"[0-9]+(?:[.-][0-9]+){2,}"  # and dates
RANGE = r"[0-9]+[-–][0-9]+"
ORDINAL = r"[0-9]+(?:st|nd|rd|th)"
WORDS = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
LARGE = rf"(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+(?:\.[0-9]+)?)[ -](?:{'|'.join(WORDS)})"
_MYRIADS = {"": 1, "万": 10**4, "亿": 10**8, "万亿": 10**12}
_VALUE = re.compile(r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")


def in_chinese(number: str) -> str:
    """A number as it stands in a Chinese text: one with a large word behind it in 万 and 亿, one of
    an order without its ending, any other as it is."""
    if re.fullmatch(LARGE, number):
        value = _value(number)
        myriad = [name for name, factor in _MYRIADS.items() if factor <= value or not name][-1]
        return _in(value, myriad)
    return number[:-2] if re.fullmatch(ORDINAL, number) else number


def chinese_forms(number: str) -> Iterator[str]:
    """Patterns of the ways in which a Chinese text may have a number in digits."""
    yield re.escape(number)
    if number.startswith("-"):
        for positive in chinese_forms(number[1:]):
            yield f"(?:-|零下|负){positive}"
    elif re.fullmatch(RANGE, number):
        first, last = re.split("[-–]", number)
        yield f"{first}[-–—~～至到]{last}"
    elif re.fullmatch(TIME, number):
        hour, minute = number.split(":")
        minutes = r"(?:整|0?0分)?(?![0-9半一二三四五钟])" if minute == "00" else f"{minute}分?"
        yield f"{hour.lstrip('0') or '0'}点{minutes}"
        yield f"{hour}：{minute}"
    elif re.fullmatch(ORDINAL, number):
        yield number[:-2]
    elif _VALUE.match(number) and not re.fullmatch(CODE, number):
        value = _value(number)
        yield f"{value:,f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:,f}"
        for myriad in _MYRIADS:
            yield re.escape(_in(value, myriad))


def _value(number: str) -> Decimal:
    digits = _VALUE.match(number)
    assert digits is not None
    word = number[digits.end() + 1 :]
    return Decimal(digits[0].replace(",", "")) * WORDS.get(word, 1)


def _in(value: Decimal, myriad: str) -> str:
    counted = f"{value / _MYRIADS[myriad]:f}"
    return (counted.rstrip("0").rstrip(".") if "." in counted else counted) + myriad
