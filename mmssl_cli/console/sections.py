"""A section of results on the terminal, as JSON and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mmssl_cli.console.lines import printable, say
from mmssl_cli.console.tables import rich_table, show
from mmssl_cli.reporting.document import Section, Table
from mmssl_cli.reporting.plain import filled, notes_of, one_line


def present_section(section: Section, out: Path | None, as_json: bool) -> None:
    """Print a section as text or JSON, and write its tables and figures to a folder if one is given.

    Raises:
        InputError: the files cannot be written.
    """
    if as_json:
        print(json.dumps(section_values(section), indent=2))
    else:
        show_section(section)
    if out is not None:
        from mmssl_cli.reporting.writing import write_section

        written = write_section(section, out)
        if not as_json:
            print()
            say(f"Written to {out}: {', '.join(sorted({path.suffix[1:] for path in written}))} files.")


def show_section(section: Section) -> None:
    """Print a section to standard output, without its figures; in a pipe, nothing is cut or wrapped."""
    console = Console(highlight=False)
    whole = not console.is_terminal
    console.print(Text(printable(one_line(section.title)), style="bold"), soft_wrap=whole)
    for text in section.text:
        console.print()
        console.print(Text(printable(one_line(text))), soft_wrap=whole)
    for table in map(filled, section.tables):
        console.print()
        show(rich_table(table), wrap=table.labels == len(table.columns))
        for note in notes_of(table, "underlined") if console.is_terminal else table.notes:
            console.print(Text(printable(one_line(note)), style="dim"), soft_wrap=whole)
    if section.missing:
        console.print()
        console.print("Not available yet:")
        for missing in section.missing:
            console.print(Text(printable(f"- {one_line(missing.what)}")), soft_wrap=whole)
            # One line, however narrow the terminal, so that it can be copied.
            console.print(Text(printable(f"  {one_line(missing.command)}"), style="bold"), soft_wrap=True)


def section_values(section: Section) -> dict[str, Any]:
    """Return a section as plain values for JSON: the numbers of the cells, or their texts."""
    return {
        "section": section.title,
        "text": list(section.text),
        "tables": [
            {
                "table": table.title,
                "rows": _rows(table),
                "notes": list(table.notes),
            }
            for table in section.tables
        ],
        "missing": [{"what": missing.what, "command": missing.command} for missing in section.missing],
    }


def _rows(table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table with the same keys in each; None where a row has no such number."""
    columns = [
        dict.fromkeys(name for cell in cells for name in cell.numbers(column)) or {column: None}
        for column, *cells in zip(table.columns, *table.rows, strict=True)
    ]
    rows = []
    for row in table.rows:
        values: dict[str, Any] = {}
        for column, names, cell in zip(table.columns, columns, row, strict=True):
            words = {} if cell.text in ("", "-") else {column: cell.text}
            values |= names | (cell.numbers(column) or words)
        rows.append(values)
    return rows
