"""Files that list ids: one a line, or a table with a column of them."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import InputError
from pipelines.io.raw import MalformedRecords
from pipelines.tables.column_names import usual_columns
from pipelines.tables.column_types import as_text
from pipelines.tables.encodings import BROKEN, text_blocks
from pipelines.tables.table_file import ColumnFile
from pipelines.text import TABLE_ENDINGS


def read_ids(path: Path, role: str) -> list[str]:
    """Return the ids in a file, in its order, repeated ones once.

    Args:
        path: .csv, .tsv, .jsonl or .parquet; any other file is text with an id per line.
        role: user or item. In a table the column of that name is read, else one that usually holds the role, else id.

    Raises:
        InputError: the file cannot be read, has no such column, or holds no id.
    """
    cells = _column(path, role) if path.suffix.lower() in TABLE_ENDINGS else _lines(path)
    ids = [text for text in dict.fromkeys(cells) if text]
    if not ids:
        raise InputError(f"{path} holds no ids.")
    return ids


def _lines(path: Path) -> list[str]:
    text = b"".join(text_blocks(path)).decode()
    if BROKEN in text or "\0" in text:
        raise InputError(
            f"{path} is not text; expected an id per line, or a file that ends in {', '.join(TABLE_ENDINGS)}."
        )
    return [line.strip() for line in text.split("\n")]


def _column(path: Path, role: str) -> list[str]:
    file = ColumnFile(path)
    columns = list(dict.fromkeys((role, *usual_columns(role, file.names), "id")))
    column = next((name for name in columns if name in file.names), None)
    if column is None:
        raise InputError(
            f"{path} has no column {' or '.join(columns)}, only {file.shown_names()}; expected one of them, or a text "
            "file with an id per line."
        )
    malformed = MalformedRecords(path)
    cells = [
        text
        for batch in file.batches([column], malformed, [column])
        for text in as_text(batch.columns[column], column, path).to_pylist()
    ]
    if malformed.count:
        raise InputError(f"{path} has malformed records: {malformed.shown[0]}.")
    return [(text or "").strip() for text in cells]
