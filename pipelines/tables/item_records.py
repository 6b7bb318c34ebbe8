"""The records of wanted items in a table file."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from pipelines.io.raw import MalformedRecords
from pipelines.tables.column_types import as_text
from pipelines.tables.ids import id_of
from pipelines.tables.table_file import ColumnFile
from pipelines.text import pluralize


def wanted_records(
    file: ColumnFile,
    item: str,
    columns: Sequence[str],
    wanted: Mapping[str, Hashable],
    malformed: MalformedRecords,
    *,
    exact: bool = True,
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield the first record of each wanted item: its number, the id in column ``item``, and the cells of ``columns``.

    Cells are as the file holds them; see :func:`cell_texts`. Further records of an item are counted.

    Args:
        wanted: id as written -> identity of the item; several ids may have the same one.
        exact: see :func:`pipelines.tables.ids.id_of`.

    Raises:
        InputError: the file is damaged, lacks a column, or, at its end, has too many malformed records.
    """
    seen: set[Hashable] = set()
    repeated = unwanted = 0
    for batch in file.batches([item, *(column for column in columns if column != item)], malformed, [item]):
        for row, text in enumerate(as_text(batch.columns[item], item, file.path).to_pylist()):
            try:
                name = id_of(text, exact)
            except ValueError as problem:
                malformed.add(int(batch.records[row]), f"{item}: {problem}", f"{item}: no valid id")
                continue
            if name not in wanted:
                unwanted += 1
                continue
            if wanted[name] in seen:
                repeated += 1
            else:
                seen.add(wanted[name])
                cells = {column: batch.columns[column][row].as_py() for column in columns}
                yield int(batch.records[row]), name, cells
    malformed.check(file.records)
    malformed.leave_out("an item without interactions that are kept", unwanted)
    if repeated:
        malformed.leave_out("another record of the same item", repeated)
        malformed.note(
            f"{file.path.name}: {pluralize(repeated, 'more record')} of items described before; the first counts"
        )
