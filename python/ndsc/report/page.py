"""Small pieces of HTML: everything is escaped here and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from ndsc.report.style import SavedFigure

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --soft: #5b6470; --line: #d8dce1;
  --card: #f5f7f9; --accent: #0072b2; --warn: #b54708; --warnpaper: #fff6ed; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --paper: #15181c; --soft: #a3abb5; --line: #353b43;
  --card: #1d2127; --accent: #5ab4e6; --warn: #fdb022; --warnpaper: #2b2111; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 48rem; }
.lead { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; }
.card .name { color: var(--soft); font-size: .85rem; }
.card .value { font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.card .note { color: var(--soft); font-size: .85rem; }
.verdict { border-left: 4px solid var(--accent); padding: .5rem 1rem; margin: 1.25rem 0; background: var(--card);
  max-width: none; }
.verdict.bad { border-color: var(--warn); background: var(--warnpaper); }
.verdict strong { margin-right: .4rem; }
.warnings { background: var(--warnpaper); border-left: 4px solid var(--warn); padding: .6rem 1rem; margin: 1rem 0; }
.warnings ul { margin: .25rem 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0; font-size: .93rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; font-size: .88rem; }
th, td { padding: .28rem .9rem .28rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { font-weight: 600; border-bottom: 2px solid var(--line); }
tbody th { font-weight: 500; white-space: nowrap; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; width: var(--width, auto); background: #fff;
  border: 1px solid var(--line); border-radius: .4rem;
  padding: .4rem; }
figcaption { color: var(--soft); font-size: .88rem; max-width: 48rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem;
  overflow-x: auto; font-size: .85rem; line-height: 1.45; }
footer { margin-top: 3rem; padding-top: .6rem; border-top: 1px solid var(--line); color: var(--soft);
  font-size: .85rem; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.columns figure { display: table; }
.columns figcaption { display: table-caption; caption-side: bottom; }
.columns { display: flex; flex-wrap: wrap; gap: 0 2.5rem; align-items: flex-start; }
@media print { :root { font-size: 9pt; --ink: #000; --paper: #fff; --soft: #444; --line: #bbb;
  --card: #fff; --warnpaper: #fff; } .cards { grid-template-columns: repeat(3, 1fr); }
  pre { white-space: pre-wrap; } body { max-width: none; padding: 0; font-size: 1rem; }
  h2 { break-after: avoid; } figure, tr, .card, .verdict { break-inside: avoid; } }
"""


def document(title: str, body: Iterable[str]) -> str:
    """A whole page that needs nothing beside itself."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n"
        "</html>\n"
    )


def heading(title: str, lead: str) -> str:
    """The top of the page."""
    return f'<header><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></header>'


def section(title: str, *parts: str) -> str:
    """A section with its title; nothing when it has no content."""
    content = [part for part in parts if part]
    return f"<section><h2>{escape(title)}</h2>\n" + "\n".join(content) + "\n</section>" if content else ""


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def cards(entries: Sequence[tuple[str, str, str]]) -> str:
    """Headline numbers: (name, value, note)."""
    items = [
        f'<div class="card"><div class="name">{escape(name)}</div><div class="value">{escape(value)}</div>'
        f'<div class="note">{escape(note)}</div></div>'
        for name, value, note in entries
    ]
    return f'<div class="cards">{"".join(items)}</div>'


def verdict(good: bool, word: str, text: str) -> str:
    """The one sentence that a reader takes away; the word says what the colour says."""
    kind = "verdict" if good else "verdict bad"
    return f'<p class="{kind}" role="note"><strong>{escape(word)}</strong> {escape(text)}</p>'


def footer(text: str) -> str:
    """The bottom of the page."""
    return f"<footer>{escape(text)}</footer>"


def warnings_box(warnings: Sequence[str]) -> str:
    """What the reader must know; nothing when there is nothing."""
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<div class="warnings" role="note"><strong>Warnings</strong><ul>{items}</ul></div>'


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, numeric: int | None = None) -> str:
    """A table; the first column names the row, the last `numeric` columns (all others by default) are numbers."""
    if not rows:
        return ""
    first_number = len(columns) - (len(columns) - 1 if numeric is None else numeric)
    kinds = [' class="number"' if index >= first_number else "" for index in range(len(columns))]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(columns, kinds, strict=True))
    body = []
    for row in rows:
        cells = [f'<th scope="row">{escape(str(row[0]))}</th>']
        cells += [f"<td{kind}>{escape(str(cell))}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def picture(figure: SavedFigure, description: str, caption: str, *, wide: bool = False) -> str:
    """A figure inside the page, with a description for those who cannot see it; a wide one fills the text's width."""
    data = base64.b64encode(figure.svg).decode("ascii")
    style = ' style="--width: 52rem"' if wide else ""
    return (
        f'<figure{style}><img alt="{escape(description)}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def listing(text: str) -> str:
    """Text as it is, an input file or a command."""
    return f"<pre><code>{escape(text)}</code></pre>"


def columns(*parts: str) -> str:
    """Pieces side by side where there is room."""
    return f'<div class="columns">{"".join(f"<div>{part}</div>" for part in parts if part)}</div>'
