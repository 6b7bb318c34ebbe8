"""What every format does to a text before it escapes what is special to it."""

from __future__ import annotations

import re
from dataclasses import replace

from mmssl_cli.reporting.document import Report, Section, Table


def one_line(text: str) -> str:
    """The text on one line, without control characters and without halves of characters that no file can hold.

    No-break spaces stay what they are; other white space becomes a space.
    """
    text = re.sub(r"[\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
    # Backspaces and escapes would move a terminal's cursor; XML and TeX refuse them.
    return re.sub(r"(?:[^\S\u00a0]|[\x00-\x1f\x7f-\x9f])+", " ", text).strip()


def filled(table: Table) -> Table:
    """The table as a reader sees it: without the columns in which no row has anything, where others have something."""
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
    """What stands below a table: what its marks mean, then its notes.

    Args:
        second: how the format shows a second place, such as ``underlined``.
    """
    marks = {cell.mark for row in table.rows for cell in row}
    legend = ["Bold is the best of a column"] if "best" in marks else []
    legend += [f"{second} the second"] if "second" in marks else []
    return [", ".join(legend) + ".", *table.notes] if legend else list(table.notes)


def of_words(table: Table, at: int) -> bool:
    """Whether a column is aligned left: one of the table's labels, or one without a number."""
    return at < table.labels or all(row[at].value is None for row in table.rows)


def sections_of(report: Report) -> tuple[Section, ...]:
    """The sections, and a last one of what the report as a whole lacks."""
    rest = Section("missing", "What is missing", missing=report.missing)
    return (*report.sections, rest) if report.missing else report.sections
