"""Separator and header of a text table, detected from its first lines."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import InputError

SEPARATORS = ("\t", ",", ";", "|", "::")
_LINES = 100
_BYTES = 2**20


@dataclass(frozen=True)
class Dialect:
    """Separator of a table, names of its columns, and number of bytes of its header."""

    separator: str
    names: list[str]
    header: int


def find_dialect(path: Path, block: bytes) -> Dialect:
    """Detect the dialect of a table from its first block, which is UTF-8.

    The separator occurs in the header. Of several candidates, it is the one that divides the most of the following
    lines into as many cells as the header, then the one with the most cells. A table of one column gets a tab.

    Raises:
        InputError: the block does not begin with the names of columns.
    """
    header, *_ = block.split(b"\n", 1)
    lines = block[len(header) + 1 : _BYTES].decode("utf-8", "ignore").split("\n")[:_LINES]
    lines, text = [line.rstrip("\r") for line in lines], header.decode().rstrip("\r")
    if not text.strip():
        raise InputError(f"{path} is empty or begins with an empty line; expected the names of columns.")
    if "\0" in text:
        raise InputError(
            f"{path} is neither parquet nor text in UTF-8; expected a table. If it is text, name its encoding, "
            "such as --encoding utf-16-le."
        )
    best = max(SEPARATORS, key=lambda separator: _fitness(separator, text, lines))
    names = [name.strip() for name in _cells(text, best)]
    if not names:
        raise InputError(f"{path} does not begin with the names of its columns.")
    return Dialect(best, names, min(len(header) + 1, len(block)))


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
