"""How Chinese writes what English has in digits: 2.7 million as 270万, $3.5m as $350万, 27th as 27,
5km as 5公里, 9:50 also as 9点50分."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from decimal import Context, Decimal, localcontext

FIGURES = r"[0-9]+(?:[.,:–-][0-9]+)*"  # whatever they are: 12, 1,200.5, 7:45, 8-10, 3:1, 2.6.0
NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?"
CODE = r"[0-9]+(?:[.-][0-9]+){2,}"  # and dates
ORDINAL = r"[0-9]+(?:st|nd|rd|th)"
WORDS = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
SUFFIXES = {
    "k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9, "t": 10**12, "tn": 10**12,
}  # fmt: skip
_SUFFIX = "(?i:[mbt]n?|k)"
# Letters close behind count as large words behind the sign of a currency alone, for 3m is three
# metres; but for bn.
LARGE = (
    rf"(?:{NUMBER}[-–])?{NUMBER}[ -](?:{'|'.join(WORDS)})"
    rf"|(?<=[$€£¥])(?:{NUMBER}{_SUFFIX}?[-–])?{NUMBER}{_SUFFIX}|{NUMBER}(?i:bn)"
)
# A number with a unit close behind; with days or seconds where it is a decimal, for the 30s are
# years, and the model knows 1d.
_WITH_UNIT = (
    rf"{FIGURES}(?!(?i:st|nd|rd|th|[ap]\.?m|[dsx])(?![A-Za-z]))"
    r"[A-Za-z]{1,3}(?:/[A-Za-z]{1,3}|[23²³])?"
)
MEASURE = rf"(?:{_WITH_UNIT}[-–])?{_WITH_UNIT}|(?:{FIGURES}[,–-])?[0-9]+\.[0-9]+[ds]"
_UNITS = {
    "km": ("公里", "千米"), "cm": ("厘米",), "mm": ("毫米",), "kg": ("公斤", "千克"),
    "mg": ("毫克",), "ml": ("毫升",),
}  # fmt: skip
_MYRIADS = {"": 1, "万": 10**4, "亿": 10**8, "万亿": 10**12}
_DASH = "[-–—~～至到]"
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_AMOUNT = re.compile(rf"({NUMBER})(?:[ -]?([A-Za-z]+))?")
_BETWEEN = re.compile(
    rf"({NUMBER}{_SUFFIX}?|{_TIME.pattern})[-–]({NUMBER}(?:[ -]?[A-Za-z]+)?|{_TIME.pattern})"
)
_MEASURED = re.compile(r"(-?[0-9.,:–-]+)(.+)")


def exactly(*texts: str) -> AbstractContextManager[Context]:
    """Within it the numbers of these texts are computed with without rounding."""
    return localcontext(prec=28 + sum(map(len, texts)))


def in_chinese(number: str) -> str:
    """A number as it stands in a Chinese text: one with a large word, or letters that mean one, in
    万 and 亿, one of an order without its ending, any other as it is."""
    if number.startswith("-"):
        return "-" + in_chinese(number[1:])
    if re.fullmatch(ORDINAL, number):
        return number[:-2]
    if number[-1].isdigit():
        return number
    if ends := _ends(number):
        return "-".join(map(in_chinese, ends))
    with exactly(number):
        value = _value(number)
        myriad = [name for name, factor in _MYRIADS.items() if factor <= value or not name][-1]
        return _in(value, myriad)


def chinese_forms(number: str) -> list[str]:
    """Patterns of the ways in which a Chinese text may have a number in digits."""
    with exactly(number):
        return [re.escape(number), *_forms(number)]


def measure_in_chinese(measure: str) -> str:
    """A number with a unit close behind as it stands in a Chinese text."""
    number, unit = _parted(measure)
    return number + _UNITS.get(unit, (unit,))[0]


def chinese_measure_forms(measure: str) -> str:
    """A pattern of the ways in which a Chinese text may have a number with a unit close behind."""
    number, unit = _parted(measure)
    units = map(re.escape, (unit, *_UNITS.get(unit, ())))
    return f"(?:{'|'.join(chinese_forms(number))}) ?(?:{'|'.join(units)})"


def _parted(measure: str) -> tuple[str, str]:
    """The number and the unit."""
    match = _MEASURED.fullmatch(measure)
    assert match is not None
    return match[1], match[2]


def _forms(number: str) -> Iterator[str]:
    """What else it may be than as it stands."""
    if number.startswith("-"):
        yield f"(?:-|零下|负)(?:{'|'.join(chinese_forms(number[1:]))})"
    elif ends := _ends(number):
        yield _DASH.join(f"(?:{'|'.join(chinese_forms(end))})" for end in ends)
        if all(map(_AMOUNT.fullmatch, ends)):  # 3-4万
            values = [*map(_value, ends)]
            for myriad, factor in _MYRIADS.items():
                yield _DASH.join(re.escape(_in(value / factor)) for value in values) + myriad
    elif match := _TIME.fullmatch(number):
        yield from _times(*match.groups())
    elif re.fullmatch(ORDINAL, number):
        yield number[:-2]
    elif _AMOUNT.fullmatch(number):
        value = _value(number)
        yield f"{value:,f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else f"{value:,f}"
        for myriad in _MYRIADS:
            yield re.escape(_in(value, myriad))
    elif ":" in number:
        yield re.escape(number).replace(":", "[:：比]")


def _times(hour: str, minute: str, second: str | None) -> Iterator[str]:
    on_the_hour = r"(?:整|0?0分)?(?![0-9半一二三四五钟])"
    if second is not None:
        minutes = f"{minute}分{second}秒?"
    else:
        minutes = on_the_hour if minute == "00" else f"{minute}分?"
    yield f"{hour.lstrip('0') or '0'}点{minutes}"
    yield "：".join(part for part in (hour, minute, second) if part)


def _ends(number: str) -> tuple[str, str] | None:
    """The two ends of a range, both with the large word or letters that the last has; None: it is
    no range."""
    if not _BETWEEN.fullmatch(number):
        return None
    first, last = re.split("[-–]", number, maxsplit=1)
    amount = _AMOUNT.fullmatch(last)
    if first[-1].isdigit() and amount is not None and amount[2]:
        first += last[amount.end(1) :]
    return first, last


def _value(number: str) -> Decimal:
    amount = _AMOUNT.fullmatch(number)
    assert amount is not None
    factor = (WORDS | SUFFIXES)[amount[2].lower()] if amount[2] else 1
    return Decimal(amount[1].replace(",", "")) * factor


def _in(value: Decimal, myriad: str = "") -> str:
    counted = f"{value / _MYRIADS[myriad]:f}"
    return (counted.rstrip("0").rstrip(".") if "." in counted else counted) + myriad
