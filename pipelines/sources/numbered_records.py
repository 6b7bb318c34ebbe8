"""Records of CSV files whose texts have line breaks without quotes: each begins with a whole number and a comma."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.errors import InputError
from pipelines.io.raw import LONGEST_LINE

_FIRST = re.compile(rb'"?[0-9]+"?,')


def begins_record(line: bytes) -> bool:
    """Return whether a line begins as a record does."""
    return _FIRST.match(line) is not None


def numbered_records(path: Path, lines: Iterable[tuple[int, bytes]], glue: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the records with the number of their first line.

    Lines that do not begin as a record does belong to the one before, with ``glue`` between them.

    Raises:
        InputError: a record of ``path`` is too long.
    """
    first, parts, size = 0, list[bytes](), 0
    for number, line in lines:
        if parts and not begins_record(line):
            size += len(line)
            if size > LONGEST_LINE:
                raise InputError(f"The record in line {first:,} of {path} is longer than {LONGEST_LINE:,} bytes.")
            parts.append(line)
            continue
        if parts:
            yield first, glue.join(parts)
        first, parts, size = number, [line], len(line)
    if parts:
        yield first, glue.join(parts)
