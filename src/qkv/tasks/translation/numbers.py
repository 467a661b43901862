"""The numbers that a text names, in digits or in Chinese numerals, and those that a translation
lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from qkv.tasks.translation.carried import addresses
from qkv.tasks.translation.figures import CODE, NUMBER, SUFFIXES, WORDS, exactly
from qkv.tasks.translation.layout import meant

_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")}
_DIGITS |= {"〇": 0, "两": 2, "兩": 2}
_TENS = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_FACTORS = _TENS | _MYRIADS
_UNITS = {"百", "千", *_MYRIADS}  # which no numeral consists of
_NUMERAL = f"[{''.join(_DIGITS | _FACTORS)}]+"
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+"
_COUNTED = "(?:[十百万萬亿億]|千(?![瓦克米卡赫帕]))"
_FIGURES = re.compile(rf"({_GROUPED})(\.[0-9]+)?[多余]?({_COUNTED}*)")
_FIRST = re.compile(  # 3-4万
    rf"(?<![0-9])({_GROUPED})(\.[0-9]+)?(?=[-–—~～至到]{NUMBER}({_COUNTED}+))"
)
_LARGE = re.compile(
    r"(?<![0-9])((?:[0-9]+(?:\.[0-9]+)?[亿億])?)([0-9]+(?:\.[0-9]+)?[万萬])([0-9]*)"
)
_PARTS = re.compile(rf"((?<![0-9])[0-9]+(?:\.[0-9]+)?|{_NUMERAL})([折成])")
_POINT = re.compile(f"({_NUMERAL})点([{''.join(_DIGITS)}]+)")
# What is said of numbers without naming them.
_SAID = {
    "百分之?百|百[米年]": 100, "半": Decimal("0.5"), "一半": 50, "[点时]半|半个?(?:小时|钟头)": 30,
    "一刻": 15, "三刻": 45, "[首头]": 1,
}  # fmt: skip

_WORDS = WORDS | SUFFIXES | {"dozen": 12}
_SUFFIX = "(?:[mbt]n?|k)"
_SHORT = re.compile(  # 3.5m
    rf"(?<![0-9])({_GROUPED})(\.[0-9]+)?({_SUFFIX})(?![A-Za-z])", re.IGNORECASE
)
_PM = r"(?P<half>[ap])\.?m\b"
_FIGURE = re.compile(
    rf"""(?P<sign>[$€£])? (?<![0-9]) (?-i:(?<![a-z])) (?# not of km2)
    (?: (?!{NUMBER}-{NUMBER}(?![.-]?[0-9])) (?P<code>{CODE})  (?# not 1.5-2)
    | (?P<hour>[0-9]{{1,2}}) (?: :(?P<minute>[0-9]{{2}}) (?: :(?P<second>[0-9]{{2}}))? (?![0-9:])
                                (?:\ ?{_PM})?
                                | \.(?P<point>[0-9]{{2}})\ ?{_PM.replace("half", "point_half")}
                                | \ ?{_PM.replace("half", "hour_half")})
    | (?P<above>[0-9]+)/(?P<below>[0-9]+) (?![0-9/])
    | (?P<decade>[0-9]*[0-9]0)'?s\b
    | (?P<whole>{_GROUPED}) (?P<fraction>\.[0-9]+)?
      (?:[ -]?(?P<word>{_SUFFIX})\b | [ -](?P<named>hundred|thousand|[mbtr]+illion|dozen)\b
         | (?=[-–][$€£]?{NUMBER}(?P<later>{_SUFFIX})\b))?
      (?:\ ?(?P<share>%|percent\b|per\ cent\b))?
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_NAMES = (
    "January|February|March|April|May|June|July|August|September|October|November|December"
    "|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\\b\\.?"
)
_DATED = re.compile(
    rf"[0-9](?:st|nd|rd|th)?(?: of| in)? ({_NAMES})(?![a-z])|\b({_NAMES})(?![a-z]),? (?:the )?[0-9]"
)
_MONTH = re.compile(f"([0-9]+|{_NUMERAL})月")
_WRITTEN = {"$": r"[$元块塊钱錢刀]|美金", "€": r"[€欧歐]", "£": r"[£镑鎊]", "%": r"[%‰成折半]|百分"}
# Numbers that another language counts otherwise: 270万, 5月, 20点.
_COUNTED_OTHERWISE = re.compile(rf"(?<![0-9]){NUMBER}[多余]?[十百千万萬亿億月点點时時]")
_RUN = re.compile(r"\d+(?:(?:[.,'’]|[ \u00a0\u2009\u202f](?=\d{3}(?!\d)))\d+)*")
_LARGE_WORDS = re.compile(r"\b(?:thousand|million|billion|trillion)\b", re.IGNORECASE)


def numbers(text: str) -> set[Decimal]:
    """The numbers that a text names in digits or Chinese numerals; where it may mean one or the
    other, both: 三点五 is 3.5, or five past three."""
    with exactly(text):
        return _numbers(meant(text))


def _numbers(text: str) -> set[Decimal]:
    values = {Decimal(value) for said, value in _SAID.items() if re.search(said, text)}
    for whole, fraction, units in [*_FIGURES.findall(text), *_FIRST.findall(text)]:
        value = _decimal(whole, fraction)
        for unit in units:
            value *= _FACTORS[unit]
        values.add(value)
    for whole, fraction, suffix in _SHORT.findall(text):
        values.add(_decimal(whole, fraction) * SUFFIXES[suffix.lower()])
    for parts in _LARGE.findall(text):  # 1亿2000万, 3万5000
        values.add(sum((_with_unit(part) for part in parts if part), Decimal(0)))
    for numeral in re.findall(_NUMERAL, text):
        if not _UNITS.issuperset(numeral):
            values.add(_value(numeral))
        if len(numeral) == 2 and _DIGITS.keys() >= set(numeral):  # 两三年
            values |= {Decimal(_DIGITS[digit]) for digit in numeral}
    for code in re.findall(CODE, text):
        values |= _parts(code)
    for part, word in _PARTS.findall(text):
        tenths = Decimal(part) if part[0].isascii() else _value(part)
        tenths = tenths * 10 if tenths < 10 else tenths
        values.add(100 - tenths if word == "折" else tenths)
    for whole, fraction in _POINT.findall(text):
        digits = "".join(str(_DIGITS[digit]) for digit in fraction)
        values.add(_value(whole) + Decimal(f"0.{digits}"))
    return values


def lost(source: str, text: str, *, chinese: bool = True) -> list[str]:
    """What stands in a source in digits, and the addresses in it, as far as they are not in its
    translation.

    Args:
        source, text: the source, whose numbers are read as English has them, and its translation.
        chinese: whether the translation is. It may have numbers in digits or numerals, in 万 or 亿,
            and must have the signs and the months that stand beside them too. Of other languages
            only the digits are known, in which "." and "," mean the same.
    """
    source, written = meant(source), meant(text)
    gone = [one for one in addresses(source) if one.lower() not in written.lower()]
    for one in addresses(source):
        source = source.replace(one, " ")
    with exactly(source, written):
        return gone + (_lost_in_chinese if chinese else _lost_elsewhere)(source, written)


def _lost_in_chinese(source: str, written: str) -> list[str]:
    gone, there = [], _numbers(written)
    for figure in _figures(source):
        has_sign = not figure.sign or re.search(_WRITTEN[figure.sign], written)
        if not has_sign or not any(meaning <= there for meaning in figure.meanings):
            gone.append(figure.text)
    months = {
        _value(one) if one[0] in _DIGITS | _TENS else Decimal(one)
        for one in _MONTH.findall(written)
    }
    for match in _DATED.finditer(source):
        name = match[1] or match[2]
        if _MONTHS.index(name[:3].lower()) + 1 not in (months or there):
            gone.append(name)
    return gone


def _lost_elsewhere(source: str, written: str) -> list[str]:
    there = {value for run in _RUN.findall(written) for value in _readings(run)}
    return [
        figure.text
        for figure in _figures(_COUNTED_OTHERWISE.sub(" ", source))
        if not any(meaning <= there for meaning in [*figure.meanings, *_bare(figure.text)])
    ]


def _readings(run: str) -> set[Decimal]:
    """What digits with signs between them may mean, whichever of the signs is a point."""
    parts = re.findall(r"\d+", run)
    values = {Decimal(part) for part in parts}
    values |= {Decimal(f"{whole}.{fraction}") for whole, fraction in pairwise(parts)}
    if all(len(part) == 3 for part in parts[1:]):
        values.add(Decimal("".join(parts)))
    if len(parts) > 1 and all(len(part) == 3 for part in parts[1:-1]):
        values.add(Decimal(f"{''.join(parts[:-1])}.{parts[-1]}"))
    return values


def _bare(figure: str) -> Iterator[set[Decimal]]:
    """The digits of a figure, whatever stands beside them; 1.500 may be 1,500."""
    plain = figure.replace(",", "")
    yield {Decimal(one) for one in re.findall(r"[0-9]+(?:\.[0-9]+)?", plain)}
    if re.fullmatch(r"[^0-9]*[0-9]{1,3}(?:\.[0-9]{3})+[^0-9]*", plain):
        yield {Decimal(re.sub("[^0-9]", "", plain))}


class _Figure(NamedTuple):
    """What stands in a text in digits; sets of numbers, each of which says it; its sign."""

    text: str
    meanings: list[set[Decimal]]
    sign: str


def _figures(source: str) -> Iterator[_Figure]:
    large = {_WORDS[word.lower()] for word in _LARGE_WORDS.findall(source)}
    for match in _FIGURE.finditer(source):
        part = match.groupdict()
        sign = "%" if part["share"] else part["sign"] or ""
        if part["code"]:
            meanings = [_parts(part["code"])]
        elif part["hour"]:
            half = part["half"] or part["point_half"] or part["hour_half"]
            meanings = _times(int(part["hour"]), int(part["minute"] or part["point"] or 0), half)
            if part["second"] and int(part["second"]):
                meanings = [meaning | {Decimal(part["second"])} for meaning in meanings]
        elif part["above"]:
            above, below = Decimal(part["above"]), Decimal(part["below"])
            meanings = [{above, below}, *([{above / below}] if below else [])]
        elif part["decade"]:
            decade = Decimal(part["decade"])
            meanings = [{decade}, {decade % 100}]
        else:
            meanings = _amounts(part, large)
        yield _Figure(match[0], meanings, sign)


def _times(hour: int, minute: int, half: str | None) -> list[set[Decimal]]:
    hours = {hour, hour % 12} if half or hour > 12 else {hour}
    if half and half.lower() == "p":
        hours.add(hour % 12 + 12)
    minutes = {Decimal(minute)} if minute else set()
    meanings = [{Decimal(one)} | minutes for one in hours]
    if minute > 30:  # 差一刻八点
        meanings += [{Decimal(one + 1), Decimal(60 - minute)} for one in hours]
    return meanings


def _amounts(part: dict[str, str], large: set[int]) -> list[set[Decimal]]:
    """A number with the word behind it, or with one that comes later: 5 to 10 million."""
    value = _decimal(part["whole"], part["fraction"] or "")
    word = (part["word"] or part["named"] or part["later"] or "").lower()
    factors = {_WORDS.get(word, 1)}
    if word == "dozen" or (word in SUFFIXES and not part["sign"]):  # or metres, or 打
        factors.add(1)
    if not word:
        factors |= large
    amounts = {value * factor for factor in factors}
    if large:  # 500到1000万
        amounts |= {one / myriad for one in amounts for myriad in (10**4, 10**8)}
    return [{one} for one in amounts]


def _parts(code: str) -> set[Decimal]:
    return {Decimal(part) for part in re.split(r"[.-]", code)}


def _decimal(whole: str, fraction: str) -> Decimal:
    return Decimal(whole.replace(",", "") + fraction)


def _with_unit(part: str) -> Decimal:
    factor = _MYRIADS.get(part[-1])
    return Decimal(part) if factor is None else Decimal(part[:-1]) * factor


def _value(numeral: str) -> Decimal:
    """Of 三百六十五 as of 三六五, which names digit after digit, and of 三百六, which is 360."""
    if len(numeral) > 1 and all(character in _DIGITS for character in numeral):
        return Decimal("".join(str(_DIGITS[character]) for character in numeral))
    total = section = digit = 0
    last = 10**8
    for character in numeral:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _TENS:
            section += (digit or 1) * _TENS[character]
            digit = 0
        else:  # of all in front, or, as 万 behind 亿, of what is not counted yet
            factor = _MYRIADS[character]
            counted = total if factor < last else 0
            total, last = counted + (total - counted + section + digit) * factor, factor
            section = digit = 0
    if numeral[-2:-1] in _UNITS:
        digit *= _FACTORS[numeral[-2]] // 10
    return Decimal(total + section + digit)
