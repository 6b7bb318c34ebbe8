"""Sections and reports as Markdown (CommonMark with GitHub's tables)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmssl_cli.reporting.document import Cell, Missing, Plot, Report, Section, Table
from mmssl_cli.reporting.plain import filled, notes_of, of_words, one_line
from mmssl_cli.text import dashed


def report(shown: Report) -> str:
    """Return a whole report; figures are linked as ``figures/<name>.svg``."""
    blocks = [f"# {escape(shown.title)}", *([f"*{escape(shown.created)}*"] if shown.created else [])]
    blocks += [paragraph(text) for text in shown.summary]
    return "\n\n".join([*blocks, *(section(part).rstrip("\n") for part in shown.sections)]) + "\n"


def section(shown: Section) -> str:
    """Return a section: heading, text, tables, figures and missing results."""
    blocks = [f"## {escape(shown.title)}", *map(paragraph, shown.text)]
    blocks += [table(each).rstrip("\n") for each in shown.tables]
    blocks += map(_figure, shown.plots)
    if shown.missing:
        blocks += ["Not available yet:", "\n".join(map(_missing, shown.missing))]
    return "\n\n".join(blocks) + "\n"


def table(shown: Table) -> str:
    """Return a table with its title above and its notes below; the best in bold, the second in italics.

    Columns are padded for readers of the source.
    """
    shown = filled(shown)
    rows = [[escape(name) for name in shown.columns], *([_cell(cell) for cell in row] for row in shown.rows)]
    widths = [max(3, *(len(row[at]) for row in rows)) for at in range(len(shown.columns))]
    left = [of_words(shown, at) for at in range(len(shown.columns))]
    rule = ["-" * (width - 1) + ("-" if words else ":") for words, width in zip(left, widths, strict=True)]
    lines = [_row(row, widths, left) for row in (rows[0], rule, *rows[1:])]
    blocks = [f"**{escape(shown.title)}**", "\n".join(lines), *map(paragraph, notes_of(shown, "italic"))]
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Return the text on one line, escaped against HTML, links, formulas, code and further columns."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$&])", r"\\\1", one_line(text))


def paragraph(text: str) -> str:
    """Return escaped text that begins no list, rule or heading either."""
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", escape(text))


def code(text: str) -> str:
    """Return a code span of any text, backticks included."""
    text = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    gap = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{gap}{text}{gap}{fence}"


def _cell(cell: Cell) -> str:
    around = {"best": "**", "second": "*", "": ""}[cell.mark]
    return f"{around}{escape(cell.text)}{around}"


def _row(cells: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> str:
    padded = (
        cell.ljust(width) if words else cell.rjust(width)
        for cell, width, words in zip(cells, widths, left, strict=True)
    )
    return f"| {' | '.join(padded)} |"


def _figure(plot: Plot) -> str:
    image = f"![{escape(plot.caption)}](figures/{dashed(plot.name)}.svg)"
    return "\n\n".join([f"**{escape(plot.title)}**", image, paragraph(plot.caption)])


def _missing(missing: Missing) -> str:
    return f"- {paragraph(missing.what)}: {code(missing.command)}"
