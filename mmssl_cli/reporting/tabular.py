"""Tables and the numbers of figures as CSV and data frames, unrounded, for spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import numbers

import pandas as pd

from mmssl_cli.reporting.document import Table
from mmssl_cli.reporting.plain import one_line


def table(shown: Table) -> str:
    """Return a table as CSV, numbers with all their digits and missing ones empty, with the columns of ``columns``."""
    found = columns(shown)
    lines = [[harmless(name) for name in found]]
    lines += [["" if value == "-" else _plain(value) for value in row] for row in found.itertuples(index=False)]
    return _written(lines)


def columns(shown: Table) -> pd.DataFrame:
    """Return a table as a data frame: floats for columns with numbers, words for the others.

    A column with deviations is followed by ``<column> deviation``; one of intervals is ``<column> low`` and ``<column>
    high``.
    """
    found: dict[str, list[object]] = {}
    for at, name in enumerate(shown.columns):
        cells = [row[at] for row in shown.rows]
        numbered = [cell.numbers(name) for cell in cells]
        keys = dict.fromkeys(key for of_cell in numbered for key in of_cell)
        for key in keys:
            found[key] = [of_cell.get(key) for of_cell in numbered]
        if not keys:
            found[name] = [cell.text for cell in cells]
    return pd.DataFrame(found)


def frame(data: pd.DataFrame) -> str:
    """Return a data frame as CSV without its index, numbers unrounded, words made harmless."""
    rows = [[harmless(str(name)) for name in data.columns]]
    rows += [[_plain(value) for value in row] for row in data.itertuples(index=False, name=None)]
    return _written(rows)


def harmless(text: str) -> str:
    """Put an apostrophe before a leading ``= + - @``, so that no spreadsheet takes the words for a formula."""
    text = one_line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _number(value: float | None) -> str:
    return "" if value is None or value != value else repr(float(value)).removesuffix(".0")


def _plain(value: object) -> str:
    if value is None or value != value:  # NaN differs from itself
        return ""
    if isinstance(value, numbers.Real):
        return str(value) if isinstance(value, numbers.Integral) else _number(float(value))
    return harmless(str(value))


def _written(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
