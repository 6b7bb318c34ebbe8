"""Separator and header of a text table, detected from its first lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pipelines.errors import InputError
from pipelines.tables.column_names import seem_values, usual_columns
from pipelines.tables.encodings import BROKEN
from pipelines.text import TABLE, pluralize

SEPARATORS = ("\t", ",", ";", "|", "::")
SPACE = " "
_ATOMIC = re.compile(r"\w+:\w+( \w+:\w+)+|(?=.*\buser_id\b)(?=.*\bitem_id\b)\w+(:\w+)?( \w+(:\w+)?)+")
"""Header of a file of RecBole with spaces in place of tabs: each field with its type, or user_id and item_id."""
_EXCEL = re.compile(r"sep=.", re.IGNORECASE)
_LINES = 100
_BYTES = 2**20


@dataclass(frozen=True)
class Dialect:
    """Separator of a table, names of its columns, and number of bytes above its first record, of its header above all.

    headerless: True if the header seems to be a record.
    lines: number of lines above the first record.
    skipped: those among them that are above the header: comments, and Excel's first line.
    """

    separator: str
    names: list[str]
    header: int
    headerless: bool = False
    lines: int = 1
    skipped: int = 0


def find_dialect(path: Path, block: bytes, names: Sequence[str] | None = None) -> Dialect:
    """Detect the dialect of a table from its first block, which is UTF-8.

    The separator occurs in the header. Of several candidates, it is the one that divides the most of the following
    lines into as many cells as the header, then the one with the most cells. A table of one column gets a tab.

    Args:
        names: columns of a file without a header; the separator is the one that gives as many cells.

    Raises:
        InputError: the block does not begin with the names of columns, or, with ``names``, does, or has other columns.
    """
    skipped = _skipped(block)
    above = sum(map(len, skipped))
    block = block[above:]
    header, *_ = block.split(b"\n", 1)
    lines = block[len(header) + 1 : _BYTES].decode("utf-8", "ignore").split("\n")[:_LINES]
    lines, text = [line.rstrip("\r") for line in lines], header.decode().rstrip("\r")
    if not text.strip():
        expected = "a record" if names else "the names of columns"
        raise InputError(f"{path} is empty or begins with an empty line; expected {expected}.")
    if "\0" in text:
        raise _no_text(path)
    separators = (*SEPARATORS, SPACE) if names or _is_spaced(text) else SEPARATORS
    if names is not None:
        separator = _without_header(path, separators, text, lines, list(names))
        return Dialect(separator, list(names), above, lines=len(skipped), skipped=len(skipped))
    best = max(separators, key=lambda separator: _fitness(separator, text, lines))
    found = [name.strip() for name in _cells(text, best)]
    if not found:
        raise InputError(f"{path} does not begin with the names of its columns.")
    if len(found) == 1 and BROKEN in text:
        raise _no_text(path)
    rows = [[cell.strip() for cell in _cells(line, best)] for line in lines if line]
    end = above + min(len(header) + 1, len(block))
    return Dialect(best, found, end, seem_values(found, rows), len(skipped) + 1, len(skipped))


def _skipped(block: bytes) -> list[bytes]:
    """Return the lines above the header: Excel's sep=; and comments, but no # with as many cells as the next line."""
    lines = block[:_BYTES].splitlines(keepends=True)[: _LINES + 1]
    texts = [line.decode("utf-8", "ignore").strip() for line in lines]
    for place, (text, below) in enumerate(pairwise(texts)):
        alike = any(len(_cells(text, each)) == len(_cells(below, each)) > 1 for each in SEPARATORS)
        if not _EXCEL.fullmatch(text) and (alike or not text.startswith("#")):
            return lines[:place]
    return lines[:-1]


def _is_spaced(header: str) -> bool:
    """Return whether spaces separate the columns of a header: those of RecBole, or the usual user and item."""
    words = header.split(SPACE)
    return bool(_ATOMIC.fullmatch(header) or (usual_columns("user", words) and usual_columns("item", words)))


def _no_text(path: Path) -> InputError:
    return InputError(
        f"{path} is neither parquet nor text in UTF-8; expected a table: {TABLE}. If it is text, name its encoding, "
        "such as --encoding utf-16-le."
    )


def _without_header(path: Path, separators: Sequence[str], text: str, lines: list[str], names: list[str]) -> str:
    """Return the separator of a file without a header."""
    fitting = [separator for separator in separators if len(_cells(text, separator)) == len(names)]
    if not fitting:
        cells = max((_cells(text, separator) for separator in separators), key=len)
        raise InputError(
            f"{path} begins with {text[:60]!r}, {pluralize(len(cells), 'column')}; --columns names {len(names)}: "
            f"{', '.join(names)}."
        )
    best = max(fitting, key=lambda separator: _fitness(separator, text, lines))
    cells = [cell.strip() for cell in _cells(text, best)]
    if usual_columns("user", cells) or usual_columns("item", cells):
        raise InputError(f"{path} begins with the names of its columns, {', '.join(cells)}; leave out --columns.")
    return best


def _fitness(separator: str, header: str, lines: list[str]) -> tuple[bool, float, int]:
    width = len(_cells(header, separator))
    filled = [line for line in lines if line]
    alike = sum(len(_cells(line, separator)) == width for line in filled)
    return width > 1, alike / max(len(filled), 1), width


def _cells(line: str, separator: str) -> list[str]:
    """Return the cells of a line; none if it cannot be read."""
    if len(separator) > 1:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []
