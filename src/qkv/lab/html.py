"""The report as one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from qkv.lab.budgets import budget_tables
from qkv.lab.markdown import HEADER, TITLE, advices, paragraphs, verdicts
from qkv.lab.session import Conducted
from qkv.lab.study import Table

_STYLE = """
:root { color-scheme: light dark; --line: #bbb; --head: #eee; }
@media (prefers-color-scheme: dark) { :root { --line: #666; --head: #333; } }
body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { border-top: 1px solid var(--line); padding-top: 1rem; }
.table { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; }
caption { font-weight: bold; text-align: left; }
th, td { border: 1px solid var(--line); padding: 0.25rem 0.5rem; }
th, td { text-align: left; vertical-align: top; } th { background: var(--head); }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; background: white; }
.advice { border-left: 0.3rem solid #0072b2; padding-left: 1rem; }
"""


def page(conducted: Sequence[Conducted], head: Sequence[str], drawn: Mapping[str, str]) -> str:
    """The whole page; `drawn` holds the `<svg>` elements of the plots by their files' names."""
    parts = [f"<h1>{escape(TITLE)}</h1>", *(f"<p>{_inline(line)}</p>" for line in head)]
    for advice in advices(conducted):
        parts.append(f'<div class="advice"><h2>What to take</h2><p>{escape(advice)}</p></div>')
    rows = verdicts(conducted)
    if rows:
        parts.append(_table(Table("What of it is true", HEADER, rows)))
    for one in conducted:
        parts += _section(one, drawn)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(TITLE)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _section(one: Conducted, drawn: Mapping[str, str]) -> list[str]:
    parts = [f'<h2 id="{escape(one.study.name)}">{escape(one.study.title)}</h2>']
    parts += [f"<p><b>{name}.</b> {escape(told)}</p>" for name, told in paragraphs(one)]
    if one.outcome is None or one.results is None:
        return parts
    parts += [
        f'<figure role="img" aria-label="{escape(plot.title)}">'
        f"{drawn[f'{one.study.name}-{number}.svg']}</figure>"
        for number, plot in enumerate(one.outcome.plots, 1)
    ]
    parts += map(_table, [*one.outcome.tables, *budget_tables(one.results)])
    return parts


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in table.rows
    )
    return (
        f'<div class="table"><table><caption>{escape(table.title)}</caption>'
        f"<tr>{head}</tr>\n{rows}</table></div>"
    )


def _inline(line: str) -> str:
    """A line whose words between backticks are code."""
    parts = escape(line).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))
