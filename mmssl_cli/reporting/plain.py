"""Preparation of texts and tables that all formats share."""

from __future__ import annotations

import re
from dataclasses import replace

from mmssl_cli.reporting.document import Table


def one_line(text: str) -> str:
    """Return the text on one line, without control characters and lone surrogates.

    No-break spaces are kept; other white space becomes a space.
    """
    text = re.sub(r"[\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
    # Backspaces and escapes would move a terminal's cursor; XML and TeX refuse them.
    return re.sub(r"(?:[^\S\u00a0]|[\x00-\x1f\x7f-\x9f])+", " ", text).strip()


def filled(table: Table) -> Table:
    """Return the table without its empty columns; a table of empty columns alone is kept."""
    kept = [at for at in range(len(table.columns)) if any(row[at].text not in ("", "-") for row in table.rows)]
    if not kept:
        return table
    return replace(
        table,
        columns=tuple(table.columns[at] for at in kept),
        rows=tuple(tuple(row[at] for at in kept) for row in table.rows),
        labels=sum(at < table.labels for at in kept),
    )


def notes_of(table: Table, second: str) -> list[str]:
    """Return the legend of the marks in a table, then its notes.

    Args:
        second: look of a second place in the format, such as ``underlined``.
    """
    marks = {cell.mark for row in table.rows for cell in row} if table.legend else set()
    legend = ["Bold is the best of a column"] if "best" in marks else []
    legend += [f"{second} the second"] if "second" in marks else []
    return [", ".join(legend) + ".", *table.notes] if legend else list(table.notes)


def of_words(table: Table, at: int) -> bool:
    """Return True for a column aligned left: one of the table's labels, or one without a number."""
    return at < table.labels or all(row[at].value is None for row in table.rows)
