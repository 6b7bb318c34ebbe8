"""A report as one HTML page that needs nothing else: no script, no font, no request; figures are part of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape as _escaped
from importlib.resources import files

from mmssl_cli.reporting import style
from mmssl_cli.reporting.document import Cell, Missing, Plot, Report, Section, Table
from mmssl_cli.reporting.plain import filled, notes_of, of_words, one_line, sections_of
from mmssl_cli.text import dashed

# The page may show what is in it, and nothing may be fetched or run.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

# Characters of a row's name, and of words in other columns, that stay on a line.
_LONG_NAME, _LONG_WORDS = 18, 32


def page(report: Report, pictures: Mapping[str, str] | None = None) -> str:
    """The whole report: readable on a phone, in a dark room, on paper, and read aloud.

    Args:
        pictures: SVG files of its figures, by their names with dashes; a figure that is not among them is drawn.
    """
    sections = sections_of(report)
    style_sheet = (files("mmssl_cli.reporting") / "page.css").read_text(encoding="utf-8")
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<link rel="icon" href="data:,">',
        f"<title>{escape(report.title)}</title>",
        f"<style>\n{style_sheet}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#content">Skip to the content</a>',
        "<header>",
        f"<h1>{escape(report.title)}</h1>",
        *([f'<p class="created">{escape(report.created)}</p>'] if report.created else []),
        "</header>",
        *_contents(sections),
        '<main id="content">',
        *map(_paragraph, report.summary),
        *(line for section in sections for line in _section(section, pictures or {})),
        "</main>",
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text on one line as HTML shows it, within an element or an attribute."""
    return _escaped(one_line(text), quote=True)


def _contents(sections: Iterable[Section]) -> Iterable[str]:
    yield '<nav aria-label="Contents">\n<h2>Contents</h2>\n<ol>'
    for section in sections:
        yield f'<li><a href="#{dashed(section.name)}">{escape(section.title)}</a>'
        parts: list[Table | Plot] = [*section.tables, *section.plots]
        if parts:
            yield "<ul>"
            yield from (f'<li><a href="#{_anchor(part)}">{escape(part.title)}</a></li>' for part in parts)
            yield "</ul>"
        yield "</li>"
    yield "</ol>\n</nav>"


def _section(section: Section, pictures: Mapping[str, str]) -> Iterable[str]:
    name = dashed(section.name)
    yield f'<section id="{name}" aria-labelledby="{name}-title">'
    yield f'<h2 id="{name}-title">{escape(section.title)}</h2>'
    yield from map(_paragraph, section.text)
    for table in section.tables:
        yield from _table(filled(table))
    for plot in section.plots:
        yield from _figure(plot, pictures.get(dashed(plot.name)))
    if section.missing:
        yield '<div class="missing">\n<h3>Not there yet</h3>\n<ul>'
        yield from map(_missing, section.missing)
        yield "</ul>\n</div>"
    yield "</section>"


def _anchor(part: Table | Plot) -> str:
    return f"{'table' if isinstance(part, Table) else 'figure'}-of-{dashed(part.name)}"


def _table(table: Table) -> Iterable[str]:
    anchor = _anchor(table)
    yield f'<div class="table" id="{anchor}">'
    yield f'<h3 id="{anchor}-title">{escape(table.title)}</h3>'
    # The table scrolls within its box, by keys too; the page does not.
    yield f'<div class="scroll" role="region" aria-labelledby="{anchor}-title" tabindex="0">'
    yield f'<table aria-labelledby="{anchor}-title">\n<thead>\n<tr>'
    for at, name in enumerate(table.columns):
        yield f'<th scope="col"{_kind(at, table)}>{escape(name)}</th>'
    yield "</tr>\n</thead>\n<tbody>"
    for row in table.rows:
        cells = (_cell(cell, at, table) for at, cell in enumerate(row))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody>\n</table>\n</div>"
    for note in notes_of(table, "underlined"):
        yield f'<p class="note">{escape(note)}</p>'
    yield "</div>"


def _cell(cell: Cell, at: int, table: Table) -> str:
    text = escape(cell.text)
    shown = {"best": f"<strong>{text}</strong>", "second": f"<u>{text}</u>", "": text}[cell.mark]
    if at == 0 and table.labels:
        return f'<th scope="row"{_kind(at, table, len(text) > _LONG_NAME)}>{shown}</th>'
    return f"<td{_kind(at, table, len(text) > _LONG_WORDS)}>{shown}</td>"


def _kind(at: int, table: Table, long: bool = False) -> str:
    if not of_words(table, at):
        return ' class="number"'
    return ' class="long"' if long else ""


def _figure(plot: Plot, picture: str | None) -> Iterable[str]:
    anchor, name, caption = _anchor(plot), dashed(plot.name), one_line(plot.caption)
    shown = style.inlined(picture, name, caption) if picture else style.svg(plot.draw(), name, caption)
    yield f'<figure id="{anchor}">'
    yield f"<h3>{escape(plot.title)}</h3>"
    yield f'<div class="paper">{shown}</div>'
    yield f"<figcaption>{escape(caption)}</figcaption>"
    yield "</figure>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _missing(missing: Missing) -> str:
    return f"<li>{escape(missing.what)}<br><code>{escape(missing.command)}</code></li>"
