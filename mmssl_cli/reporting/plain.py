"""What every format does to a text before it escapes what is special to it."""

from __future__ import annotations

import re

from mmssl_cli.reporting.document import Report, Section, Table


def one_line(text: str) -> str:
    """The text on one line, without control characters and without halves of characters that no file can hold."""
    text = re.sub(r"[\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
    # Backspaces and escapes would move a terminal's cursor; XML and TeX refuse them.
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text).split())


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
    """Whether a column is aligned left: one of the table's labels, or one that has words and no number."""
    cells = [row[at] for row in table.rows]
    spoken = any(cell.text not in ("", "-") for cell in cells)
    return at < table.labels or (spoken and all(cell.value is None for cell in cells))


def sections_of(report: Report) -> tuple[Section, ...]:
    """The sections, and a last one of what the report as a whole lacks."""
    rest = Section("missing", "What is missing", missing=report.missing)
    return (*report.sections, rest) if report.missing else report.sections
