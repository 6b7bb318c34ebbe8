"""The records of wanted items in a table file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from pipelines.io.raw import MalformedRecords
from pipelines.tables.column_types import BROKEN, as_text
from pipelines.tables.table_file import ColumnFile


def wanted_records(
    file: ColumnFile, item: str, columns: Sequence[str], wanted: Collection[str], malformed: MalformedRecords
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The first record of each wanted item: its number, the id of column ``item``, and the cells of ``columns``.

    Cells are as the file holds them, of text files bytes; see :func:`cell_texts`.

    Raises:
        InputError: the file is damaged, lacks a column, or, at its end, has too many malformed records.
    """
    seen: set[str] = set()
    for batch in file.batches([item, *(column for column in columns if column != item)], malformed):
        for row, name in enumerate(as_text(batch.columns[item], item, file.path).to_pylist()):
            if not name or BROKEN in name:
                malformed.add(int(batch.records[row]), f"{item}: the id is missing or not in UTF-8")
            elif name in wanted and name not in seen:
                seen.add(name)
                cells = {column: batch.columns[column][row].as_py() for column in columns}
                yield int(batch.records[row]), name, cells
    malformed.check(file.records)
