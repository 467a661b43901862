"""Writes the page "What of it is true", in English and in Chinese, from the results of the lab.

    python scripts/claims.py          # writes docs/claims.md and docs/claims.zh-CN.md
    python scripts/claims.py --check  # exits with 1 where a page is another

The claims, and the findings that tell of each, stand in scripts/claims.toml; what was found, in
docs/lab/results.json.gz.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "lab" / "results.json.gz"
TEXTS = Path(__file__).with_suffix(".toml")
ONE = r"[+-]?\d(?:\d|,(?=\d))*(?:\.\d+)?(?:e[+-]\d+)?"
FIGURE = re.compile(rf"{ONE}(?: or {ONE})*(?:(?: times)? \[[^\]]*\])?")
"""A figure of a sentence with its interval, if any; several that were chosen are one."""


@dataclass(frozen=True)
class Language:
    """What a page says in a language besides claims and findings."""

    page: str
    head: str
    header: tuple[str, ...]
    all_of_it: str
    limits: str
    verdicts: dict[str, str]
    counted: str
    left: str
    left_out: str


ENGLISH = Language(
    page="claims.md",
    head="""\
# What of it is true

[中文](claims.zh-CN.md)

What text books and articles claim of RNN, LSTM, self-attention and their hybrids, and what
[`qkv compare`](lab.md) found. Scores and their differences have an interval, over test items and
seeds: of 95 %, and wider where a verdict rests on several. Each verdict follows a rule that was
fixed before the first run: where the interval that it rests on holds 0 nothing is concluded, but
that nothing is forgotten where all of it is below 2 points. The models are small and so are the
data: what a study does not show is said below. The [whole report](lab/report.md) has budgets,
tables and plots; [results.json.gz](lab/results.json.gz) has every run.

{made}
""",
    header=("claim", "found", "verdict"),
    all_of_it="All that was found",
    limits="Limits",
    verdicts={
        "holds": "**holds**",
        "does not hold": "**does not hold**",
        "cannot be told": "cannot be told",
    },
    counted="Of {all} claims {holds} hold, {fails} do not, and of {unknown} it cannot be told.",
    left="{rest} are not measured yet.",
    left_out="not measured yet",
)  # fmt: skip
CHINESE = Language(
    page="claims.zh-CN.md",
    head="""\
# 这些说法，哪些是真的

[English](claims.md)

教科书和文章对 RNN、LSTM、自注意力及其混合模型有种种说法，这里是
[`qkv compare`](lab.md) 测到的结果。分数和差都带有区间（同时考虑测试样本与随机种子）：95 %，
一个结论依据多个比较时更宽。结论的规则在第一次运行之前就已定下：所依据的区间包含 0 时不下结论，
只有整个区间低于 2 个百分点时判为没有遗忘。模型和数据都很小：
每项研究不能说明什么，写在下面。预算、表格和曲线见[完整报告](lab/report.md)（英文），
每一次运行的记录在 [results.json.gz](lab/results.json.gz)。

{made}
""",
    header=("说法", "测到的", "结论"),
    all_of_it="全部结果",
    limits="局限",
    verdicts={"holds": "**成立**", "does not hold": "**不成立**", "cannot be told": "无法判断"},
    counted="{all} 个说法中，{holds} 个成立，{fails} 个不成立，{unknown} 个无法判断。",
    left="{rest} 个尚未测量。",
    left_out="尚未测量",
)


class Pages:
    """The pages in both languages."""

    def __init__(self, results: dict[str, Any], texts: dict[str, Any]) -> None:
        self.machine, self.texts = results["machine"], texts
        self.studies = [study for study in results["studies"] if "findings" in study]
        self.findings = {
            finding["claim"]: finding for study in self.studies for finding in study["findings"]
        }

    def page(self, language: Language) -> str:
        """A page as Markdown."""
        verdicts = [self.findings[name]["verdict"] for name in self._deciding()]
        rest = len(self.texts["claims"]) - len(verdicts)
        counted = language.counted.format(
            all=len(self.texts["claims"]),
            **{name: verdicts.count(verdict) for name, verdict in NAMES.items()},
        )
        if rest:
            counted += " " + language.left.format(rest=rest)
        made = "{processor}, torch {torch}, qkv {qkv}.".format(**self.machine)
        lines = [
            language.head.format(made=made),
            counted,
            "",
            *_table(self._decided(language), language),
        ]
        lines += ["", f"## {language.all_of_it}", ""]
        for claim in self.texts["claims"]:
            rows = [
                self._row(name, language) for name in claim["findings"] if name in self.findings
            ]
            if rows:
                lines += [f"### {claim[_code(language)]}", "", *_table(rows, language), ""]
        lines += [f"## {language.limits}", "", *self._limits(language)]
        return "\n".join(lines) + "\n"

    def _deciding(self) -> Iterator[str]:
        """The finding that decides each claim, if it was measured."""
        for claim in self.texts["claims"]:
            if claim["findings"][0] in self.findings:
                yield claim["findings"][0]

    def _decided(self, language: Language) -> Iterator[tuple[str, ...]]:
        """A row for each claim, by the finding that decides it."""
        for claim in self.texts["claims"]:
            name = claim["findings"][0]
            told = (
                self._row(name, language)[1:] if name in self.findings else (language.left_out, "")
            )
            yield claim[_code(language)], *told

    def _row(self, name: str, language: Language) -> tuple[str, str, str]:
        """A finding: its claim, what was found, its verdict."""
        finding = self.findings[name]
        claim, found = name, finding["found"]
        if language is CHINESE:
            twin = self.texts["chinese"][name]
            claim, found = twin["claim"], translated(finding["found"], twin["found"])
        return claim, found, language.verdicts[finding["verdict"]]

    def _limits(self, language: Language) -> Iterator[str]:
        for study in self.studies:
            told = study["limits"]
            title = study["title"]
            if language is CHINESE:
                twin = self.texts["studies"][study["name"]]
                title, told = twin["title"], twin["limits"]
            yield f"* {title}{'：' if language is CHINESE else ': '}{told}"


NAMES = {"holds": "holds", "fails": "does not hold", "unknown": "cannot be told"}


def translated(found: str, forms: list[str]) -> str:
    """What was found, in the form that has as many figures as the English sentence has.

    Raises:
        ValueError: there is no such form.
    """
    figures = [one.replace(" or ", " 或 ").replace(" times", "") for one in FIGURE.findall(found)]
    for form in forms:
        places = {int(place) for place in re.findall(r"\{(\d+)\}", form)}
        if places == set(range(len(figures))):
            return form.format(*figures)
    raise ValueError(f"claims: no form has the {len(figures)} figures of {found!r}")


def _code(language: Language) -> str:
    return "zh" if language is CHINESE else "en"


def _table(rows: Any, language: Language) -> list[str]:
    lines = [language.header, ("---",) * len(language.header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def pages() -> dict[Path, str]:
    """The text of each page, by its file."""
    results = json.loads(gzip.decompress(RESULTS.read_bytes()))
    both = Pages(results, tomllib.loads(TEXTS.read_text(encoding="utf-8")))
    return {ROOT / "docs" / one.page: both.page(one) for one in (ENGLISH, CHINESE)}


def main() -> int:
    parser = argparse.ArgumentParser(description="The pages of claims.")
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    same = True
    for path, text in pages().items():
        same &= path.is_file() and path.read_text(encoding="utf-8") == text
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and not same)


if __name__ == "__main__":
    sys.exit(main())
